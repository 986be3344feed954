"""Whether a table was made with the paper's models: where each comes from shows stand-ins, whatever they are called."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import TypeAdapter

from promptavideo.models import ModelEntry, source_of
from promptavideo.vbench.checkpoints import read_checkpoints

HERE = "from this machine"
NO_MODEL = "no model"


def sources(paper: Mapping[str, Any], checkpoints: Path) -> list[str]:
    """Where the paper's models come from, and who its operators are.

    Args:
        paper: What paper.yaml holds.
        checkpoints: The list of VBench's own networks.
    """
    models = TypeAdapter(dict[str, ModelEntry | None]).validate_python(paper["models"]).values()
    operators = [_endpoint(entry) for entry in paper["operators"].values() if entry]
    judges = [entry.source for entry in read_checkpoints(checkpoints).values()]
    return sorted({*(source_of(entry) for entry in models if entry), *operators, *judges})


def others(rows: Iterable[Mapping[str, Any]], known: Iterable[str]) -> list[str]:
    """What some rows were made with that does not come from where the paper's comes, each once.

    A folder or file of this machine may hold anything, so it is never known.

    Args:
        rows: Records of `provenance.row`.
        known: What `sources` gives.

    Returns:
        Such as `llama-3-8b-instruct (from this machine)`, `gpt-4o (gpt-4o at http://localhost:8000/v1)`.
    """
    paper = set(known)
    found = {(name, source): None for row in rows for name, source in _behind(row) if source not in paper}
    return [f"{name} ({source})" for name, source in found]


def _behind(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The name and the source of each model behind a row, and of what wrote its texts."""
    for scores in (row.get("scores", {}), row.get("rewards", {})):
        generator = scores.get("generator", {})
        if "base_url" in generator:
            yield row["generator"], _endpoint(generator)
        if generator.get("kind") == "command" and not generator.get("model"):
            weights = [job.get("weights") for job in scores.get("filming", [])]
            if not all(weights):
                yield row["generator"], "whose command reports no weights"
        for model in (*scores.get("models", []), *scores.get("checkpoints", [])):
            yield _shown(model)
        texts = scores.get("texts", {})
        for name, entry in texts.get("models", {}).items():
            model = TypeAdapter[ModelEntry](ModelEntry).validate_python(entry)
            yield _shown({"name": name, "kind": model.kind, "source": source_of(model)})
        if operator := texts.get("operator"):
            yield texts["refiner"]["operator"], _endpoint(operator) if "base_url" in operator else NO_MODEL
        yield from ((name, NO_MODEL) for name, entry in scores.get("rewards", {}).items() if "model" not in entry)
    if booster := row.get("booster"):
        yield _shown(booster["base_model"])


def _shown(model: Mapping[str, Any]) -> tuple[str, str]:
    here = model.get("kind") == "local" or urlsplit(model["source"]).scheme == "file"
    return model["name"], HERE if here else model["source"]


def _endpoint(entry: Mapping[str, Any]) -> str:
    return f"{entry['model']} at {entry['base_url']}"
