"""Instructions that stand as a constant in somebody's Python file, which is read and never run."""

import ast
import warnings
from collections.abc import Iterator
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory

from pydantic import Field, field_validator

from promptavideo.boosters.chat import holds_prompt_alone
from promptavideo.download import Digest, PinnedFile
from promptavideo.errors import InputError


class PublishedInstruction(PinnedFile):
    """An instruction that stands as a constant in somebody's Python file, which is read and never run."""

    sha256: Digest
    """Of the file."""
    constant: str = Field(pattern=r"^[A-Za-z_]\w*$")
    """Name of the text at the top level of the file."""
    then: str = "$prompt"
    """What follows the constant; `$prompt` stands for the prompt, and `$$` for a dollar sign."""

    @field_validator("then")
    @classmethod
    def _one_placeholder(cls, then: str) -> str:
        if not holds_prompt_alone(Template(then)):
            raise ValueError("must hold $prompt and no other placeholder")
        return then

    def read(self, key: str) -> str:
        """Fetch the file and give the instruction as a template, with the placeholder `$prompt`.

        Args:
            key: The entry of the configuration, such as `refiners.released.instruction`.

        Raises:
            InputError: The file cannot be fetched, is another one or no Python, or holds no such text.
        """
        with TemporaryDirectory(prefix="promptavideo-instruction-") as folder:
            file = Path(folder, "file")
            self.download(file, key)
            source = file.read_bytes()
        return constant(source, self.constant, f"{key}.constant: {self.url}").replace("$", "$$") + self.then


def constant(source: bytes, name: str, where: str) -> str:
    """The text that a Python file gives a name at its top level, by reading the file alone.

    Args:
        source: The file's bytes.
        name: Of the constant.
        where: The key and the file, for messages.

    Raises:
        InputError: The file is no Python, or gives the name no text, or several.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in the file's texts
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{where} is no Python file ({error}); take the file that holds the constant") from error
    given = list(_assigned(tree))
    found = [value for target, value in given if target == name]
    if not found:
        known = ", ".join(target for target, value in dict(given).items() if isinstance(value, str))[:200] or "none"
        raise InputError(f"{where} has no {name}; its texts are {known}")
    if len(found) > 1 or not isinstance(found[0], str) or not found[0].strip():
        raise InputError(f"{where}: {name} is no single text; name another constant")
    return found[0]


def _assigned(tree: ast.Module) -> Iterator[tuple[str, object]]:
    """Names that are given at the top level, each with the constant that it is given; None for anything else."""
    for statement in tree.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
        for target in targets:
            if isinstance(target, ast.Name) and isinstance(statement, ast.Assign | ast.AnnAssign):
                value = statement.value
                yield target.id, value.value if isinstance(value, ast.Constant) else None
