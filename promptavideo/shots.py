"""What is filmed: shots, and the prompts tables that list them, one row a video."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptavideo.seeds import video_seed

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Shot:
    """One video to film."""

    text: str
    negative: str | None
    """What to film away from; None: what the generator's own entry says (its `negative_prompt`)."""
    seed: int


@dataclass(frozen=True)
class Refined:
    """A refined text with a negative prompt of its own."""

    text: str
    negative: str | None = None
    """None: the generator's own."""


def prompts_table(
    prompts: Mapping[str, str],
    texts: Mapping[str, Sequence[str | Refined]],
    run_seed: int,
    replicates: int = 1,
    first: int = 0,
) -> "pd.DataFrame":
    """A `schemas.PROMPTS` table that films every text of each prompt `replicates` times, sorted by prompt_id.

    Args:
        prompts: Each prompt by its id.
        texts: The candidates of each prompt id; a prompt without any has no row.
        run_seed: The run's seed.
        replicates: Videos a text, each with another seed.
        first: Number of a prompt's first candidate.
    """
    import pandas as pd

    from promptavideo.schemas import PROMPTS

    rows = [
        (prompt_id, prompts[prompt_id], candidate, one.text, one.negative, replicate,
         video_seed(run_seed, prompt_id, replicate))
        for prompt_id in sorted(texts)
        for candidate, text in enumerate(texts[prompt_id], first)
        for one in [Refined(text) if isinstance(text, str) else text]
        for replicate in range(replicates)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(PROMPTS.columns)).astype({"negative": "str"})


def shots_of(rows: "pd.DataFrame") -> list[Shot]:
    """The shot of each row of a `schemas.PROMPTS` table, in order."""
    negatives = rows["negative"].astype(object).where(rows["negative"].notna(), None)
    return [Shot(*row) for row in zip(rows["refined"], negatives, rows["seed"], strict=True)]
