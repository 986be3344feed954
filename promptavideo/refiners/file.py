"""Prompts that were refined elsewhere, read from a file."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from promptavideo.answers import bound
from promptavideo.errors import InputError
from promptavideo.prompts import CHARACTERS_A_WORD, Repeated, load_prompt_set
from promptavideo.refiners.base import Refiner, RefinerEntry
from promptavideo.settings import File, Planning
from promptavideo.shots import Refined
from promptavideo.text import text_key
from promptavideo.user_files import read_columns, read_text

if TYPE_CHECKING:
    from promptavideo.config import Config
    from promptavideo.study import Study

log = logging.getLogger(__name__)

NAMED = 20  # ids of each kind of fault that a message names


class FileRefinerConfig(RefinerEntry):
    """Texts made elsewhere, one row a prompt; rows of other prompts may be there too."""

    kind: Literal["file"]
    file: Annotated[str, File()] = Field(pattern=r"\.(csv|jsonl|parquet|txt)$")
    """Path relative to the repository root: a table, or a text file of one refined text a line, with `prompts`."""
    prompts: Annotated[str | None, File()] = Field(None, pattern=r"\.txt$")
    """With a text file: another, whose line of the same number is the prompt."""
    key: Literal["prompt_id", "prompt"] = "prompt"
    """Column that tells which prompt a row is of: its text (see `text.text_key`) or its id."""
    column: str = Field("refined", min_length=1)
    """Column that holds the refined text."""
    negative: str | None = Field(None, min_length=1)
    """Column that holds a negative prompt of each text's own; an empty one, and null: the generator's counts."""
    repeated: Repeated = "refuse"
    """What becomes of a prompt with several texts: an error, or its first counts. Equal texts are one text."""
    max_words: int = Field(200, ge=1)
    """Longer texts are cut after their last whole sentence."""
    remark: Annotated[str | None, Planning()] = Field(None, min_length=1)
    """A sentence that stands below every table with a row of the refiner, such as what its texts are made for."""

    @model_validator(mode="after")
    def _table_or_lines(self) -> Self:
        if self.file.endswith(".txt") != (self.prompts is not None):
            raise ValueError(
                "a .txt file as `file` and one as `prompts`, line by line, go together; a table needs none"
            )
        for name in ("key", "column", "negative"):
            if self.prompts is not None and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"`{name}` names a column, which text files do not have; leave it out")
        return self

    def check(self, where: str, config: "Config", root: Path) -> None:
        """Check that there is a text for every prompt that is known by now and that it is compared on."""
        name = where.partition(".")[2]
        media = {one.filmed for track, one in config.generators.items() if name in config.evaluation.compared(track)}
        if media:
            texts = FileRefiner(self, name, root)
            sets = (entry for entry in config.evaluation.sets.values() if any(map(entry.filmed_by, media)))
            for prompts in sorted({entry.prompts for entry in sets}):
                if (entry := config.prompt_sets[prompts]).file:
                    table = load_prompt_set(prompts, entry, root)
                    texts.refine(table["prompt_id"].tolist(), table["prompt"].tolist())

    def load(self, name: str, track: str, study: "Study") -> Refiner:
        """Read the file."""
        return FileRefiner(self, name, Path())


class FileRefiner(Refiner):
    """Looks each prompt's text up."""

    def __init__(self, config: FileRefinerConfig, name: str, root: Path) -> None:
        """Read the file.

        Args:
            config: Its entry.
            name: The refiner's name, for messages.
            root: Folder that `config.file` is relative to.

        Raises:
            InputError: A file cannot be read, a column is missing, or two text files have other numbers of lines.
        """
        self._config, self._key, self._path = config, f"refiners.{name}", root / config.file
        self._rows: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
        read = _read_lines if config.prompts else _read_table
        for number, (key, text, negative) in enumerate(read(self._key, config, root), 1):
            identity = text_key(key) if config.key == "prompt" else key.strip()
            self._rows[identity].append((number, text, negative))

    def refine(self, prompt_ids: Sequence[str], prompts: Sequence[str]) -> list[Refined]:
        """Each prompt's text, and its negative prompt if it has one, as one clean line of bounded length.

        Raises:
            InputError: A prompt has no row, several texts, or one without text; one message names all such prompts.
        """
        missing, repeated, empty, texts = list[str](), list[str](), list[str](), list[Refined]()
        place, once, long = "line" if self._config.prompts else "row", 0, 0
        for identity, prompt in zip(prompt_ids, prompts, strict=True):
            rows = self._rows.get(text_key(prompt) if self._config.key == "prompt" else identity, [])
            shown = f"{identity} {prompt[:40]!r}"
            cleaned = [(self._clean(text), self._clean(negative)) for _, text, negative in rows]
            found = [Refined(text, negative or None) for (text, _), (negative, _) in cleaned]
            if not rows:
                missing.append(shown)
            elif len(set(found)) > 1 and self._config.repeated == "refuse":
                repeated.append(f"{shown} in {place}s {' and '.join(str(row[0]) for row in rows[:5])}")
            elif not found[0].text:
                empty.append(f"{shown} in {place} {rows[0][0]}")
            once += len(rows) > 1
            long += any(cut for _, cut in cleaned[0]) if cleaned else 0
            texts += found[:1]
        several = "have several texts (`repeated: first` takes the first of each)"
        faults = [
            f"{len(found)} of {len(prompts)} prompts {what}: {'; '.join(found[:NAMED])}"
            + (f"; and {len(found) - NAMED} more" if len(found) > NAMED else "")
            for what, found in ((f"have no {place}", missing), (several, repeated), ("have no text", empty))
            if found
        ]
        if faults:
            raise InputError(f"{self._key}.file: {self._path}: {'. '.join(faults)}. Mend the file and run again")
        if once:
            log.info("%s: %d prompts stand there more than once; the first text of each is used", self._path, once)
        if long:
            log.warning("%s: %d texts are longer than %d words and were cut", self._path, long, self._config.max_words)
        return texts

    def _clean(self, text: str) -> tuple[str, bool]:
        """A text in one clean line of bounded length, and whether it was longer."""
        limit = CHARACTERS_A_WORD * self._config.max_words
        bounded, cut = bound(text[:limit], self._config.max_words)
        return bounded, cut or len(text) > limit


def _read_table(key: str, config: FileRefinerConfig, root: Path) -> Iterator[tuple[str, str, str]]:
    """The key, the text and the negative prompt of each row; a value that is missing or no text is empty."""
    columns = {"key": config.key, "column": config.column} | ({"negative": config.negative} if config.negative else {})
    for _, values in read_columns(key, root / config.file, columns):
        identity, text, negative, *_ = (value if isinstance(value, str) else "" for value in (*values, None))
        yield identity, text, negative


def _read_lines(key: str, config: FileRefinerConfig, root: Path) -> Iterator[tuple[str, str, str]]:
    """Each line of the prompts' file and the line of the same number of the texts' file."""
    lines = []
    for name, file in (("prompts", str(config.prompts)), ("file", config.file)):
        text = read_text(f"{key}.{name}", root / file).replace("\r\n", "\n")
        lines.append(text.rstrip().split("\n"))  # not splitlines(), which breaks at characters within a text, too
    prompts, texts = lines
    if len(prompts) != len(texts):
        raise InputError(
            f"{key}.prompts: {config.prompts} has {len(prompts)} lines and {config.file} {len(texts)}, so they do not "
            "belong together line by line; give the two files of one publication, unchanged"
        )
    for prompt, text in zip(prompts, texts, strict=True):
        yield prompt, text, ""
