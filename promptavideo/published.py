"""Whether a table was made with the paper's models: where each comes from shows stand-ins, whatever they are called."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from promptavideo import registry
from promptavideo.vbench.checkpoints import read_checkpoints

PUBLISHED = ("paper.yaml", "released-boosters.yaml")
"""The files that name the paper's models, and the boosters that its authors released."""
HERE = "from this machine"
NO_MODEL = "no model"


def sources_at(scale: str, root: Path) -> list[str] | None:
    """Where the paper's models come from, who its operators are, and where VBench's own networks come from.

    None at another scale than the paper's, whose tables are not asked what made them.

    Args:
        scale: The configuration's.
        root: The repository root.
    """
    if scale != "paper":
        return None
    published = [yaml.safe_load((root / file).read_text(encoding="utf-8")) for file in PUBLISHED]
    entries: list[Any] = [
        registry.kinds(group)[entry["kind"]].model_validate(entry)
        for file in published
        for group in ("models", "operators")
        for entry in file.get(group, {}).values()
        if entry
    ]
    entries += read_checkpoints(root / "resources/vbench/checkpoints.yaml").values()
    return sorted({entry.source for entry in entries})


def others(rows: Iterable[Mapping[str, Any]], known: Iterable[str]) -> list[str]:
    """What some rows were made with that does not come from where the paper's comes, each once.

    A folder or file of this machine may hold anything, so it is never known.

    Args:
        rows: Records of `provenance.row`.
        known: What `sources_at` gives.

    Returns:
        Such as `llama-3-8b-instruct (from this machine)`, `gpt-4o (gpt-4o at http://localhost:8000/v1)`.
    """
    paper = set(known)
    found = {(name, source): None for row in rows for name, source in _behind(row) if source not in paper}
    return [f"{name} ({source})" for name, source in found]


def _behind(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The name and the source of each model behind a row, and of what else filmed, judged and wrote."""
    for scores in (row.get("scores", {}), row.get("rewards", {}), *row.get("reported", {}).values()):
        for model in (*scores.get("models", []), *scores.get("checkpoints", [])):
            yield model["name"], source_of(model.get("kind", ""), model["source"])  # VBench's own networks have no kind
        yield from scores.get("others", {}).items()
    if booster := row.get("booster"):
        base = booster["base_model"]
        yield base["name"], source_of(base["kind"], base["source"])


def source_of(kind: str, source: str) -> str:
    """Where a model comes from, as tables name it: a folder or file of this machine may hold anything."""
    return HERE if kind == "local" or urlsplit(source).scheme == "file" else source
