"""The model card of an exported booster: base, licence, data, rewards, measured gains, limits."""

import math
import re
from importlib import metadata
from pathlib import Path
from string import Template
from typing import Any

from promptavideo.errors import InputError
from promptavideo.layout import REWARDS
from promptavideo.models import Manifest, check_model
from promptavideo.study import Study
from promptavideo.use.source import BARE, Source

CARD = Template("""---
library_name: transformers
pipeline_tag: text-generation
${front}tags: [prompt-refinement, text-to-video]
---

# $title

A chat model that rewrites a short prompt into one that a video generator films better (Prompt-A-Video, arXiv
2412.15156). The user's message is the bare prompt, the answer is the refined one.
$template

| | |
|---|---|
| booster | $name |
| base model | $base |
| licence of the base model | $licence |
| weights | $parameters, $dtype |
| data | $data |
| rewards that selected it | $rewards |
| drawn with | temperature $temperature, top_p $top_p, top_k $top_k, $max_new_tokens new tokens at most |

## Measured gains

$gains

## Use

Any server with OpenAI's interface runs this folder, such as `transformers serve` or `vllm serve`. In Python:

```python
from transformers import pipeline

boost = pipeline("text-generation", "THIS FOLDER")
print(boost([{"role": "user", "content": "a red ball moves left"}], return_full_text=False)[0]["generated_text"])
```

`promptavideo boost --booster "THIS FOLDER" "a red ball moves left"` draws the very texts of the run. Ollama imports the
folder by its `Modelfile`.

## Limits

- It writes for the generators named above, in the words that its rewards like there; for another one nothing was
  measured.
- A text may leave out or change what the prompt says. Compare both videos.
- It was trained on single prompts of at most $max_prompt_tokens tokens with their instruction. System messages are
  dropped.
$limits
## License

The weights are a derivative of the base model: its licence and terms of use apply, and those of the prompts in the
data.
""")


def text(source: Source, dtype: str, title: str) -> str:
    """The card of an exported booster.

    Args:
        source: The booster.
        dtype: Of the weights that were written.
        title: The card's heading.
    """
    from promptavideo.use.export import parameters

    manifest = manifest_of(source.chain.base)
    licence = licence_of(source.chain.base, manifest)
    front = f"license: {licence}\n" if licence and re.fullmatch(r"[a-z0-9][a-z0-9.-]*", licence) else ""
    if manifest and manifest.kind == "hub":
        front += f"base_model: {manifest.source}\n"
    count = parameters(source.chain.base)
    bare = source.instruction.template.template == BARE
    return CARD.substitute(
        source.settings.sampling.model_dump(),
        front=front,
        title=title,
        name=f"`{source.name}`",
        template="" if bare else "The chat template asks as the booster was trained to be asked.\n",
        base=base_of(source, manifest),
        licence=licence or "not said by its files; see its own card",
        parameters=f"{count / 1e6:,.1f} million" if count >= 1e5 else f"{count:,}",
        dtype=dtype,
        data=data_of(source),
        rewards=rewards_of(source),
        gains=gains_of(source),
        limits=limits_of(source),
    )


def licence_of(folder: Path, manifest: Manifest | None) -> str:
    """What a model's own files, or the package that it came in, say of its licence; empty if nothing does."""
    readme = folder / "README.md"
    if readme.is_file():
        found = re.search(r"\A---\n.*?^license:\s*(\S+)", readme.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        if found:
            return found[1]
    for file in sorted(folder.glob("LICEN[CS]E*")):
        lines = [line.strip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines()]
        return next(filter(None, lines), "")[:80]
    if manifest and manifest.kind == "package":
        try:
            said = metadata.metadata(manifest.source.partition(":")[0])
        except metadata.PackageNotFoundError:
            return ""
        given = next((said[key] for key in ("License-Expression", "License") if key in said), "")
        return given.splitlines()[0][:80].lower() if given else ""
    return ""


def manifest_of(base: Path) -> Manifest | None:
    """What a base model was fetched from; None of an exported one."""
    try:
        return check_model(base)
    except InputError:
        return None  # an exported model has none


def base_of(source: Source, manifest: Manifest | None) -> str:
    """The base model, for people."""
    if manifest is None:
        return "merged already"
    place = manifest.name if manifest.kind == "local" else manifest.source  # a folder of this machine says nothing
    revision = f", revision {manifest.revision}" if manifest.revision else ""
    return f"{place}{revision}, digest `{manifest.digest[:16]}`"


def data_of(source: Source) -> str:
    """What a booster learned from."""
    card = source.card
    if not card:
        return "see the card of the model that this was made of"
    kind = {"sft": "pairs", "dpo": "triples"}.get(str(card.get("stage")), "examples")
    stage = "its last stage of training" if card.get("previous") else "training"
    return f"{card.get('examples', 'unknown')} {kind} in {stage}, SHA-256 `{str(card.get('data'))[:16]}`"


def rewards_of(source: Source) -> str:
    """What selected its data."""
    if source.study is None or source.booster is None:
        return "not recorded here"
    said = []
    for track in source.booster.tracks:
        names = ", ".join(metric.name for metric in source.study.objective(track))
        judges = ", ".join(source.study.judging(REWARDS, track))
        said.append(f"{names} by {judges}, of videos of {track}")
    return "; ".join(said)


def rows_of(source: Source) -> list[dict[str, Any]]:
    """The rows of its run's VideoScore table that are of a booster's own texts; none without such a table."""
    study, booster = source.study, source.booster
    if study is None or booster is None or not (table := _table(study)).is_file():
        return []
    from promptavideo.tables import PAPER_SET, read_videoscore_table

    rows = read_videoscore_table(table).to_dict("records")
    return [
        {str(name): value for name, value in row.items()}
        for row in rows
        if row["set"] != PAPER_SET
        and row["generator"] in study.tracks
        and row["refiner"] in study.config.refiners
        and not study.config.refiners[row["refiner"]].negates
        and study.writer(row["generator"], row["refiner"]) == booster
    ]


def gains_of(source: Source) -> str:
    """What its run measured of it."""
    rows = rows_of(source)
    if not rows:
        return (
            "None were found beside it. Film the original and the refined prompt with one seed before you rely on it."
        )
    lines = [
        "The mean score (0-5) of held-out prompts' videos, and its paired difference to the original prompts' with a",
        "95 % bootstrap interval over prompts.",
        "",
        "| generator | prompts | videos | score | gain | interval |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        numbers = [row.get(name, math.nan) for name in ("gain", "gain_ci_low", "gain_ci_high")]
        gain, low, high = (f"{one:+.3f}" if one == one else "" for one in numbers)
        interval = f"{low} to {high}" if low and high else "not known"
        lines.append(
            f"| {row['generator']} | {row['set']} | {row['videos']} | {row['avg']:.3f} | {gain} | {interval} |"
        )
    return "\n".join(lines)


def limits_of(source: Source) -> str:
    """What a laptop's run cannot show."""
    if source.study is not None and source.study.config.scale == "laptop":
        return (
            "- It was trained at laptop scale: a miniature generator, scored by measurements of pixels. Its gains are "
            "those of\n  the miniature's world and say nothing of real footage.\n"
        )
    return ""


def _table(study: Study) -> Path:
    return study.root / "results/tables/videoscore.csv"
