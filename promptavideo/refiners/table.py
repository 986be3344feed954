"""From a prompt set and a refiner to the prompts table that is filmed."""

import pandas as pd

from promptavideo.refiners.base import Refiner
from promptavideo.shots import prompts_table


def evaluation_table(prompt_set: pd.DataFrame, refiner: Refiner, replicates: int, run_seed: int) -> pd.DataFrame:
    """A `schemas.PROMPTS` table that films each prompt's refined text `replicates` times.

    Args:
        prompt_set: A `schemas.PROMPT_SET` table.
        refiner: Rewrites every prompt once.
        replicates: Videos a prompt, each with another seed.
        run_seed: The run's seed.
    """
    ordered = prompt_set.sort_values("prompt_id", ignore_index=True)
    ids, prompts = ordered["prompt_id"].tolist(), ordered["prompt"].tolist()
    refined = {identity: [text] for identity, text in zip(ids, refiner.refine(ids, prompts), strict=True)}
    return prompts_table(dict(zip(ids, prompts, strict=True)), refined, run_seed, replicates)
