"""The one text that asks a booster for a refined prompt, in training and in use."""

from pathlib import Path
from string import Template

from promptavideo.errors import InputError

Message = dict[str, str]


def holds_prompt_alone(template: Template) -> bool:
    """Whether `$prompt` is a template's only placeholder."""
    return template.is_valid() and template.get_identifiers() == ["prompt"]


class Instruction:
    """An instruction template with the placeholder `$prompt`."""

    def __init__(self, path: Path, exact: bool = False) -> None:
        """Read the template.

        Args:
            path: A text file.
            exact: Keep outer white space too, which editors change and a published text may have.

        Raises:
            InputError: The file cannot be read, or `$prompt` is not its only placeholder.
        """
        try:
            text = path.read_text(encoding="utf-8")
            self.template = Template(text if exact else text.strip())
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: the instruction cannot be read ({error})") from error
        if not holds_prompt_alone(self.template):
            raise InputError(f"{path}: the instruction must hold $prompt and no other placeholder")

    def ask(self, prompt: str) -> list[Message]:
        """The conversation that asks for a refined `prompt`."""
        return [{"role": "user", "content": self.template.substitute(prompt=prompt)}]

    @staticmethod
    def answer(refined: str) -> list[Message]:
        """The booster's turn."""
        return [{"role": "assistant", "content": refined}]
