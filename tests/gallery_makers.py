"""Galleries of random clips and scores, for tests of what the page shows."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from promptavideo import schemas
from promptavideo.gallery.collect import Arm, Group
from promptavideo.metrics import PAPER, Metric
from promptavideo.prompts import prompt_id
from promptavideo.shots import prompts_table
from promptavideo.store import Entry, Store, write_manifest
from promptavideo.video import Clip

HELD_OUT = Metric("AGREE", 0.0, 1.0)
AVERAGE = ("VQ", "TC", "DD", "TVA", "FC")


def group(
    folder: Path,
    prompts: Sequence[str],
    texts: Mapping[str, Sequence[str]],
    seed: int = 0,
    clips: int | None = None,
    side: int = 32,
) -> Group:
    """A group of one track and set.

    Args:
        folder: For the store and manifests.
        prompts: The prompts.
        texts: {refiner: its text of each prompt}.
        seed: Of clips and scores.
        clips: How many different videos there are, which texts share then; one a text when absent.
        side: Pixels of a video's sides.
    """
    rng = np.random.default_rng(seed)
    store = Store(folder / "store", "painter")
    made: dict[str, Entry] = {}
    arms = []
    for refiner, written in texts.items():
        ids = [prompt_id(prompt) for prompt in prompts]
        by_id = dict(zip(ids, prompts, strict=True))
        table = prompts_table(by_id, {one: [text] for one, text in zip(ids, written, strict=True)}, 1, replicates=2)
        raw = pd.DataFrame({metric.name: rng.uniform(1, 4, len(table)) for metric in PAPER})
        fives = pd.DataFrame({metric.five: raw[metric.name] * metric.to_five for metric in PAPER})
        places = [f"{refiner} {row}" for row in range(len(table))]
        if clips:
            places = [f"clip {row % clips}" for row in range(len(table))]
        for place in places:
            if place not in made:
                frames = rng.integers(0, 256, (8, side // 4, side // 4, 3), "uint8").repeat(4, 1).repeat(4, 2)
                key = f"{len(made):08x}"
                stored = store.put(key, Clip(frames, 8.0), crf=20, pixel_format="yuv420p")
                made[place] = Entry("p", 0, 0, key, stored.sha256, stored.frames, stored.fps)
        table = table.assign(key=[made[place].key for place in places])
        scores = pd.concat([table, raw, fives], axis=1)[list(schemas.scores(PAPER).columns)]
        manifest = folder / f"{refiner}.jsonl"
        write_manifest([made[place] for place in places], manifest)
        scores = scores.assign(AGREE=rng.uniform(0, 1, len(scores)))
        arms.append(Arm(refiner, scores, store.of_manifests([manifest])))
    return Group("painter", "heldout", "video", store, PAPER, AVERAGE, [HELD_OUT], arms)
