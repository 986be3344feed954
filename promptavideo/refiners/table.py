"""From refined texts to the prompts tables that are filmed."""

import pandas as pd

from promptavideo.refiners.base import Refiner
from promptavideo.seeds import video_seed


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
    refined = refiner.refine(ids, prompts)
    return pd.DataFrame(
        [
            (prompt_id, prompt, 0, text, replicate, video_seed(run_seed, prompt_id, replicate))
            for prompt_id, prompt, text in zip(ids, prompts, refined, strict=True)
            for replicate in range(replicates)
        ],
        columns=["prompt_id", "prompt", "candidate", "refined", "replicate", "seed"],
    )


def candidate_table(prompt_set: pd.DataFrame, texts: dict[str, list[str]], run_seed: int) -> pd.DataFrame:
    """A `schemas.PROMPTS` table that films every candidate text of each prompt once.

    Args:
        prompt_set: A `schemas.PROMPT_SET` table.
        texts: The candidates of each prompt id.
        run_seed: The run's seed.
    """
    ordered = prompt_set.sort_values("prompt_id", ignore_index=True)
    return pd.DataFrame(
        [
            (prompt_id, prompt, candidate, text, 0, video_seed(run_seed, prompt_id, 0))
            for prompt_id, prompt in zip(ordered["prompt_id"], ordered["prompt"], strict=True)
            for candidate, text in enumerate(texts[prompt_id])
        ],
        columns=["prompt_id", "prompt", "candidate", "refined", "replicate", "seed"],
    )
