"""A booster's folder that is small and whole: its chain in one adapter, with all that its use takes."""

import shutil
from pathlib import Path
from string import Template

from promptavideo.boosters.compress import write_booster
from promptavideo.errors import InputError
from promptavideo.files import write_text
from promptavideo.study import Study
from promptavideo.use import card, record
from promptavideo.use.source import of_run

README = Template("""---
library_name: peft
tags: [lora, prompt-refinement, text-to-video]
---

# A booster of `$name`

LoRA adapters of rank $rank over one base model, in place of the chain of boosters that ends in `$name`: the nearest
adapter of that rank to their sum, in float16 (the difference has $lost of the sum's Frobenius norm). It rewrites a
short prompt so that the generator below films it better (Prompt-A-Video, arXiv 2412.15156).

| | |
|---|---|
| base model | $base |
| licence of the base model | $licence |
| data | $data |
| rewards that selected it | $rewards |

## Measured gains of the whole chain

$gains

## Use

`promptavideo boost --booster FOLDER "a red ball moves left"`, or a refiner of kind `adapter`.

## Limits

- It writes for the generators named above, in the words that its rewards like there; for another one nothing was
  measured.
- A text may leave out or change what the prompt says. Compare both videos.
$limits""")


def ship(study: Study, track: str, name: str, folder: Path, rank: int) -> None:
    """Write a booster of a run into a folder that needs no run around it, beside its card; the folder appears whole.

    Args:
        study: The run.
        track: The booster's owner.
        name: The booster's name.
        folder: Target; it is replaced.
        rank: Of its one adapter.

    Raises:
        InputError: The booster is not whole, or learned without a base model whose entry can be recorded.
    """
    booster = study.owned(track, name)
    source = of_run(study, booster)
    if source.booster is None:
        raise InputError(f"{track}/{name}: is no booster of this run")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    lost = write_booster(source.chain.base, Path(study.root / study.files_of(booster).folder), partial, rank)
    base = study.config.booster.base
    entry = {"name": base, **study.config.models[base].model_dump(mode="json", exclude_none=True)}
    said = record.Record(
        name=f"{booster.known_as}, shipped",
        writes=source.writes,
        instruction=source.instruction.template.template,
        sampling=source.settings.sampling,
        seed=source.seed,
        base=entry,
    )
    record.write(said, source.readers, partial)
    manifest = card.manifest_of(source.chain.base)
    text = README.substitute(
        name=booster.known_as,
        rank=rank,
        lost=f"{lost:.1%}",
        base=card.base_of(source, manifest),
        licence=card.licence_of(source.chain.base, manifest) or "not said by its files; see its own card",
        data=card.data_of(source),
        rewards=card.rewards_of(source),
        gains=card.gains_of(source),
        limits=card.limits_of(source),
    )
    write_text(partial / "README.md", text)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
