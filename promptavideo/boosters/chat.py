"""The one text that asks a booster for a refined prompt, in training and in use."""

from pathlib import Path
from string import Template
from typing import Self

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
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: the instruction cannot be read ({error})") from error
        self._take(text if exact else text.strip(), str(path))

    @classmethod
    def of(cls, text: str, where: str) -> Self:
        """An instruction that is no file of its own, such as that of a booster's card.

        Args:
            text: The template.
            where: What holds it, for messages.

        Raises:
            InputError: `$prompt` is not its only placeholder.
        """
        made = cls.__new__(cls)
        made._take(text, where)
        return made

    def _take(self, text: str, where: str) -> None:
        self.template = Template(text)
        if not holds_prompt_alone(self.template):
            raise InputError(f"{where}: the instruction must hold $prompt and no other placeholder")

    def ask(self, prompt: str) -> list[Message]:
        """The conversation that asks for a refined `prompt`."""
        return [{"role": "user", "content": self.template.substitute(prompt=prompt)}]

    @staticmethod
    def answer(refined: str) -> list[Message]:
        """The booster's turn."""
        return [{"role": "assistant", "content": refined}]
