"""What a diffusers pipeline reads of a text: by which tokenizer, and how many tokens."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptavideo.errors import InputError
from promptavideo.generators.diffusers_config import TEXT_LIMITS, DiffusersConfig
from promptavideo.generators.source import defaults, find, installed
from promptavideo.reading import Reader, reader_of
from promptavideo.tokenization import load_tokenizer

UNLIMITED = 10**6
"""From here on a tokenizer's `model_max_length` is no limit; transformers writes 10**30 where none is known."""

CLIP = ("CLIPTokenizer", "CLIPTokenizerFast")
"""Whose own limit is fixed, whatever a pipeline's `max_sequence_length`."""

Tokenizers = Mapping[str, tuple[str, Any]]
"""A pipeline's tokenizers by component: the name of the class that its index gives, and the tokenizer."""


def tokenizers_in(folder: Path) -> Tokenizers:
    """The tokenizers of a pipeline on disk.

    Args:
        folder: In diffusers format.

    Raises:
        InputError: It is no such folder, or a tokenizer cannot be loaded.
    """
    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
        named = {name: part[1] for name, part in index.items() if name.startswith("tokenizer") and part[1]}
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise InputError(f"{folder / 'model_index.json'}: is no index of a pipeline ({error})") from error
    return {name: (kind, load_tokenizer(folder / name)) for name, kind in named.items()}


def reader(config: DiffusersConfig, tokenizers: Tokenizers) -> Reader | None:
    """The tokenizer that reads most of a text, and how many tokens; None where nothing says.

    Of the first tokenizer that is not CLIP's it is `max_sequence_length`, as configured or else by default of the
    pipeline's call or encoding, or else what its code alone says. Where there is nothing of all this, it is each
    tokenizer's own limit, of which the largest counts: what one encoder cuts, another reads. Tokens that a template
    adds are not counted.
    """
    limit = config.sampling.get("max_sequence_length", TEXT_LIMITS.get(config.pipeline)) or _default(config.pipeline)
    longer = [part for kind, part in tokenizers.values() if kind not in CLIP]
    if isinstance(limit, int) and longer:
        return _of(longer[0], limit)
    own = {name: int(part.model_max_length) for name, (_, part) in tokenizers.items()}
    name = max((one for one in own if own[one] < UNLIMITED), key=lambda one: own[one], default=None)
    return _of(tokenizers[name][1], own[name]) if name else None


def _of(tokenizer: Any, limit: int) -> Reader | None:
    """A reader by a tokenizer of transformers; None by one that is not of the library tokenizers."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return reader_of(backend, limit) if backend is not None else None


def _default(pipeline: str) -> object:
    """The `max_sequence_length` that a pipeline takes by default."""
    root = installed()
    if root is None:
        return None
    found = find(root, pipeline, f"pipeline {pipeline}")
    given = (defaults(found, function).get("max_sequence_length") for function in ("__call__", "encode_prompt"))
    return next((limit for limit in given if limit), None)
