"""Film a shard of a prompts table."""

import logging
from pathlib import Path
from typing import Literal

import pandas as pd

from promptavideo.errors import InputError, PromptAVideoError, ScoreError
from promptavideo.generators.base import TAKES_NEGATIVE, Generator, GeneratorEntry, RefusedError
from promptavideo.progress import Progress
from promptavideo.shots import Shot, shots_of
from promptavideo.store import BlackError, Entry, Store, Stored, write_manifest
from promptavideo.timing import Timing

log = logging.getLogger(__name__)

CALLED = {"refined": "texts", "negative": "negative prompts"}
"""What columns of a prompts table hold, for people."""


def film_shard(
    rows: pd.DataFrame, generator: Generator, store: Store, manifest: Path, stage: str, timing: Timing | None = None
) -> None:
    """Film every video of `rows` that the store does not hold, then write the manifest.

    >>> import numpy, pathlib, tempfile
    >>> from promptavideo.filming import film_shard
    >>> from promptavideo.generators.base import Generator
    >>> from promptavideo.shots import prompts_table
    >>> from promptavideo.store import Store, read_manifest
    >>> from promptavideo.video import Clip
    >>> class Noise(Generator):
    ...     batch_size = 1
    ...     def identity(self):
    ...         return {"noise": 1}
    ...     def film(self, shots):
    ...         for shot in shots:
    ...             yield Clip(numpy.random.default_rng(shot.seed).integers(0, 256, (8, 32, 32, 3), "uint8"), fps=8)
    >>> rows = prompts_table({"some-id": "a cat"}, {"some-id": ["a cat", "a red cat"]}, run_seed=1)
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> film_shard(rows, Noise(), Store(folder / "store", "noise"), folder / "0000.jsonl", "example")
    >>> [(entry.prompt_id, entry.candidate, entry.frames) for entry in read_manifest(folder / "0000.jsonl")]
    [('some-id', 0, 8), ('some-id', 1, 8)]

    Args:
        rows: Rows of a `schemas.PROMPTS` table.
        generator: Films their shots.
        store: Keeps each video under its key as soon as it is filmed.
        manifest: Written last; names every video of the shard.
        stage: What the progress lines call this work.
        timing: Gets the number of videos that were filmed and the time it took.

    Raises:
        InputError: The generator takes no negative prompts and rows have some; it refused texts or made black videos of
            them, named by prompt once everything else is filmed; or it cannot go on.
        ScoreError: A video could not be read back even when filmed twice.
    """
    shots = shots_of(rows)
    check_negatives(rows, generator, store.folder.name)
    tokens, negatives = _tokens(rows, generator, stage, "refined"), _tokens(rows, generator, stage, "negative")
    keys = [generator.key(shot) for shot in shots]
    timing = timing or Timing()
    shoot = _Shoot(generator, store)
    work = dict(zip(keys, shots, strict=True))
    stored = {key: found for key in work if (found := store.find(key))}
    missing = [key for key in work if key not in stored]
    progress = Progress(stage, len(work), f"{store.medium}s", done=len(stored))
    for start in range(0, len(missing), generator.batch_size):
        batch = {key: work[key] for key in missing[start : start + generator.batch_size]}
        with timing.measure(len(batch)):
            stored |= shoot.film(batch, attempts=2)
        progress.advance(len(batch))
    if shoot.refused:
        raise InputError(_refusals(rows, keys, shoot.refused))
    entries = []
    for row, key, *both in zip(rows.to_dict("records"), keys, tokens, negatives, strict=True):
        video, limits = stored[key], [generator.reads_tokens if generator.cuts(one) else None for one in both]
        place = row["prompt_id"], row["candidate"], row["replicate"]
        entries.append(Entry(*place, key, **vars(video), cut_at=limits[0], negative_cut_at=limits[1], tokens=both[0]))
        if video.nothing:
            log.warning(
                "%s: the %s is %s; prompt %s, text: %.200r",
                store.video(key), store.medium, video.nothing, row["prompt_id"], row["refined"],
            )  # fmt: skip
    write_manifest(entries, manifest)


def check_negatives(rows: pd.DataFrame, generator: Generator | GeneratorEntry, name: str) -> None:
    """Check that a generator, which need not be loaded, can film away from what rows of a `schemas.PROMPTS` table say.

    Raises:
        InputError: Rows have negative prompts of their own, and it takes none; the message names the first.
    """
    own = rows[rows["negative"].notna() & (rows["negative"] != generator.negative_prompt)]
    if len(own) and not generator.takes_negative:
        first = own.iloc[0]
        raise InputError(
            f"generators.{name}: takes no negative prompts of texts, and {len(own)} of {len(rows)} rows have one "
            f"(first prompt {first['prompt_id']}, candidate {first['candidate']}: {first['negative']!r:.200}). "
            f"{TAKES_NEGATIVE}"
        )


def _tokens(
    rows: pd.DataFrame, generator: Generator, stage: str, column: Literal["refined", "negative"]
) -> list[int | None]:
    """Tokens of the text, or the negative prompt, of each row; the job's log counts those that are cut."""
    given = rows[column].notna().tolist()
    counts = iter(generator.count_tokens(rows.loc[given, column].tolist()))
    found = [next(counts) if there else None for there in given]
    cut = [generator.cuts(one) for one in found]
    texts = rows[["prompt_id", "candidate"]]
    if any(cut):
        log.warning(
            "%s: %d of %d %s are longer than the %s tokens that the encoder reads",
            stage, len(texts[cut].drop_duplicates()), len(texts[given].drop_duplicates()), CALLED[column],
            generator.reads_tokens,
        )  # fmt: skip
    return found


class _Shoot:
    """Films batches into a store and remembers what was refused."""

    def __init__(self, generator: Generator, store: Store) -> None:
        self._generator, self._store = generator, store
        self.refused: dict[str, str] = {}
        """Why, by the key of the video."""

    def film(self, batch: dict[str, Shot], attempts: int) -> dict[str, Stored]:
        """Film one batch of shots by their keys; what cannot be read back is filmed again, `attempts` times in all."""
        stored: dict[str, Stored] = {}
        again: dict[str, Shot] = {}
        stopped: PromptAVideoError | None = None  # raised last, so that what was made of the others is kept
        generator = self._generator
        for (key, shot), made in zip(batch.items(), generator.film(list(batch.values())), strict=True):
            if isinstance(made, RefusedError):
                self.refused[key] = str(made)
                continue
            if isinstance(made, PromptAVideoError):
                stopped = stopped or made
                continue
            said = generator.circumstances()
            said |= {"made_with": self._store.keep(generator.environment() | said)}
            said |= {"text": shot.text, "negative": generator.negative(shot), "seed": shot.seed}
            said |= {"identity": generator.identity()}  # with which the key can be computed again
            try:
                stored[key] = self._store.put(key, made, generator.crf, generator.pixel_format, said)
            except BlackError as error:
                self.refused[key] = str(error)
            except ScoreError as error:
                if attempts == 1:
                    stopped = stopped or ScoreError(f"{error}. It was filmed twice; text: {shot.text!r}")
                else:
                    log.warning("%s; filming it again", error)
                    again[key] = shot
        if stopped:
            raise stopped
        return stored | (self.film(again, attempts - 1) if again else {})


def _refusals(rows: pd.DataFrame, keys: list[str], refused: dict[str, str]) -> str:
    lines = [
        f"prompt {row['prompt_id']}, candidate {row['candidate']}: {refused[key]}; text: {row['refined']!r:.200}"
        for row, key in zip(rows.to_dict("records"), keys, strict=True)
        if key in refused
    ]
    return (
        f"the generator gives no videos of {len(lines)} texts, everything else of this shard is filmed and kept. Leave "
        "these prompts out of the prompt set, or change what refines them:\n  " + "\n  ".join(lines)
    )
