"""Answers of language models on disk: what was paid for once is not asked again."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from promptavideo.files import atomic_path

log = logging.getLogger(__name__)

_ENTRY = TypeAdapter(dict[str, Any])


class Answers:
    """One small file an answer, named by the hash of everything that the answer depends on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, digest: str) -> str | None:
        """The answer kept under a hexadecimal digest; None if there is none, or if its file was damaged."""
        path = self._path(digest)
        try:
            text = _ENTRY.validate_json(path.read_bytes())["text"]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError):
            text = None
        if not isinstance(text, str) or not text:
            log.warning("%s: is no kept answer; asking again", path)
            return None
        return text

    def put(self, digest: str, text: str, origin: Mapping[str, object]) -> str:
        """Keep an answer, unless another process kept one first; what is kept is returned.

        Args:
            digest: The name.
            text: The answer.
            origin: What a reader of the file may want to know, e.g. the model that the endpoint says it used.
        """
        kept = self.get(digest)
        if kept is not None:
            return kept
        with atomic_path(self._path(digest)) as partial:
            partial.write_text(json.dumps({"text": text, **origin}, indent=1), encoding="utf-8")
        return text

    def _path(self, digest: str) -> Path:
        return self.folder / digest[:2] / f"{digest}.json"
