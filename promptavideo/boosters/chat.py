"""The one text that asks a booster for a refined prompt, in training and in use."""

from pathlib import Path
from string import Template

from promptavideo.errors import InputError
from promptavideo.text import clean

Message = dict[str, str]


class Instruction:
    """An instruction template with the placeholder `$prompt`."""

    def __init__(self, path: Path) -> None:
        """Read the template.

        Raises:
            InputError: The file cannot be read, or `$prompt` is not its only placeholder.
        """
        try:
            self.template = Template(path.read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: the booster's instruction cannot be read ({error})") from error
        if not self.template.is_valid() or self.template.get_identifiers() != ["prompt"]:
            raise InputError(f"{path}: the booster's instruction must hold $prompt and no other placeholder")

    def ask(self, prompt: str) -> list[Message]:
        """The conversation that asks for a refined `prompt`."""
        return [{"role": "user", "content": self.template.substitute(prompt=prompt)}]

    @staticmethod
    def answer(refined: str) -> list[Message]:
        """The booster's turn."""
        return [{"role": "assistant", "content": refined}]


def clean_answer(text: str, max_words: int) -> str:
    """An answer as one line of bounded text: cleaned as by `text.clean`, at most `max_words` words.

    A text that is too long is cut after its last whole sentence, or after `max_words` words if it has none.
    """
    words = clean(text).split()
    if len(words) <= max_words:
        return " ".join(words)
    kept = words[:max_words]
    ends = [place for place, word in enumerate(kept, 1) if word.endswith((".", "!", "?"))]
    return " ".join(kept[: ends[-1]] if ends else kept)
