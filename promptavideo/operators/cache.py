"""Answers of language models on disk: what was paid for once is not asked again."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from promptavideo.files import write_text
from promptavideo.operators.base import Answer

log = logging.getLogger(__name__)

_ENTRY = TypeAdapter(dict[str, Any])


class Answers:
    """One small file an answer, named by the hash of everything that the answer depends on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, digest: str) -> Answer | None:
        """The answer kept under a hexadecimal digest; None if there is none, or if its file was damaged."""
        path = self._path(digest)
        try:
            entry = _ENTRY.validate_json(path.read_bytes())
            answer = Answer(entry.get("text", ""), entry.get("left_out", ""))
        except FileNotFoundError:
            return None
        except ValueError:
            answer = Answer("")
        if not all(isinstance(part, str) for part in (answer.text, answer.fault)) or not (answer.text or answer.fault):
            log.warning("%s: is no kept answer; asking again", path)
            return None
        return answer

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
