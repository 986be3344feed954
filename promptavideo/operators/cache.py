"""Answers of language models on disk: what was paid for once is not asked again."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from promptavideo.files import write_text
from promptavideo.operators.base import Answer

log = logging.getLogger(__name__)


class _Entry(BaseModel):
    text: str = ""
    left_out: str = ""


class Answers:
    """One small file an answer, named by the hash of everything that the answer depends on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, digest: str) -> Answer | None:
        """The answer kept under a hexadecimal digest; None if there is none, or if its file was damaged."""
        path = self._path(digest)
        try:
            entry = _Entry.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            entry = _Entry()
        if entry == _Entry():
            log.warning("%s: is no kept answer; asking again", path)
            return None
        return Answer(entry.text, entry.left_out)

    def put(self, digest: str, answer: Answer, origin: Mapping[str, object]) -> Answer:
        """Keep an answer, or that there is none, unless another process did so first; what is kept is returned.

        Args:
            digest: The name.
            answer: The answer; one with a fault is not asked for again until its file is deleted.
            origin: What a reader of the file may want to know, e.g. the model that the endpoint says it used.
        """
        kept = self.get(digest)
        if kept is not None:
            return kept
        entry = {"left_out": answer.fault} if answer.fault else {"text": answer.text}
        write_text(self._path(digest), json.dumps({**entry, **origin}, indent=1))
        return answer

    def _path(self, digest: str) -> Path:
        return self.folder / digest[:2] / f"{digest}.json"
