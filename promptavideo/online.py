"""Filming and judging in one process, for a look at some texts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from promptavideo.generators.base import Generator
from promptavideo.metrics import Metric
from promptavideo.prompts import prompt_id
from promptavideo.shots import Shot
from promptavideo.store import Store

if TYPE_CHECKING:
    import pandas as pd


def judge(
    prompts: Sequence[str],
    shots: Sequence[Shot],
    generator: Generator,
    judges: Mapping[str, Any],
    metrics: Sequence[Metric],
    store: Store,
) -> "pd.DataFrame":
    """Film shots and judge their videos by the prompts that they are for; what the store holds is done already.

    >>> import numpy, pathlib, tempfile
    >>> from promptavideo.generators.base import Generator
    >>> from promptavideo.judges.base import Judge
    >>> from promptavideo.metrics import Metric
    >>> from promptavideo.online import judge
    >>> from promptavideo.shots import Shot
    >>> from promptavideo.store import Store
    >>> from promptavideo.video import Clip
    >>> class Gray(Generator):
    ...     batch_size = 1
    ...     def identity(self):
    ...         return {"gray": 1}
    ...     def film(self, shots):
    ...         for shot in shots:
    ...             yield Clip(numpy.full((8, 32, 32, 3), 40 * len(shot.text), "uint8"), fps=8)
    >>> class Brightness(Judge):
    ...     metrics = ("BRIGHT",)
    ...     def score(self, clips, prompts):
    ...         return [{"BRIGHT": round(float(clip.frames.mean()) / 255, 1)} for clip in clips]
    >>> store = Store(pathlib.Path(tempfile.mkdtemp()), "gray")
    >>> shots = [Shot("dim", None, seed=1), Shot("sunny", None, seed=1)]
    >>> judge(["sun", "sun"], shots, Gray(), {"brightness": Brightness()}, [Metric("BRIGHT", 0, 1)], store)
       BRIGHT
    0     0.5
    1     0.8

    Args:
        prompts: The original prompt of each shot.
        shots: What to film.
        generator: Films.
        judges: Judges of videos by their identity, from `judges.load_judges`.
        metrics: What these fill.
        store: Keeps videos and scores.

    Returns:
        Raw values, one row a shot in the order given, one column a metric.

    Raises:
        InputError: The generator refused a text, or cannot go on.
        ScoreError: A video cannot be judged.
    """
    from promptavideo.filming import film_shard
    from promptavideo.scoring import score_shard

    rows = _rows(prompts, shots)
    with TemporaryDirectory() as folder:
        manifest = Path(folder, "shots.jsonl")
        film_shard(rows, generator, store, manifest, "film")
        table = score_shard(rows, [manifest], judges, metrics, store, "judge")
    return table[[metric.name for metric in metrics]].copy()


def film(prompts: Sequence[str], shots: Sequence[Shot], generator: Generator, store: Store) -> list[Path]:
    """Film shots that the store does not hold yet, for whoever judges by eye; arguments and errors as of `judge`.

    Returns:
        The video of each shot, in the store.
    """
    from promptavideo.filming import film_shard

    with TemporaryDirectory() as folder:
        film_shard(_rows(prompts, shots), generator, store, Path(folder, "shots.jsonl"), "film")
    return [store.video(generator.key(shot)) for shot in shots]


def _rows(prompts: Sequence[str], shots: Sequence[Shot]) -> "pd.DataFrame":
    """A `schemas.PROMPTS` table of shots, each a candidate of its own."""
    import pandas as pd

    from promptavideo.schemas import PROMPTS

    return pd.DataFrame(
        [
            (prompt_id(prompt), prompt, place, shot.text, shot.negative, 0, shot.seed)
            for place, (prompt, shot) in enumerate(zip(prompts, shots, strict=True))
        ],
        columns=list(PROMPTS.columns),
    ).astype({"negative": "str"})
