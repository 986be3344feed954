"""Filming and judging in one process: for a look at some texts, and for trainers that ask for rewards as they go."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from promptavideo.generators.base import Generator
from promptavideo.metrics import Metric
from promptavideo.prompts import prompt_id
from promptavideo.seeds import video_seed
from promptavideo.shots import Shot
from promptavideo.store import Store
from promptavideo.totals import total

if TYPE_CHECKING:
    import pandas as pd

    from promptavideo.study import Study


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
    import pandas as pd

    from promptavideo.filming import film_shard
    from promptavideo.schemas import PROMPTS
    from promptavideo.scoring import score_shard

    rows = pd.DataFrame(
        [
            (prompt_id(prompt), prompt, place, shot.text, shot.negative, 0, shot.seed)
            for place, (prompt, shot) in enumerate(zip(prompts, shots, strict=True))
        ],
        columns=list(PROMPTS.columns),
    ).astype({"negative": "str"})
    with TemporaryDirectory() as folder:
        manifest = Path(folder, "shots.jsonl")
        film_shard(rows, generator, store, manifest, "film")
        table = score_shard(rows, [manifest], judges, metrics, store, "judge")
    return table[[metric.name for metric in metrics]].copy()


class OnlineReward:
    """The total of a track's objective as a reward function of trl's trainers, on a loaded generator and judges."""

    __name__ = "objective"

    def __init__(self, study: "Study", track: str) -> None:
        """Load what films and judges a track.

        Raises:
            InputError: It cannot be loaded.
        """
        from promptavideo.judges import load_judges

        entry, folder = study.config.generators[track], Path(study.config.store)
        self._store = Store(folder, track)
        models = [Path(study.layout.model(name)) for name in entry.models]
        self._generator = entry.load(track, models, self._store.work)
        self._judges = load_judges(study.config.rewards, Path(study.layout.models))
        self._metrics, self._seed = study.config.objectives, study.config.seed
        self._weights = study.config.evolution.weights

    def __call__(self, prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float]:
        """The total of each completion, filmed with the seed that its prompt has in every batch."""
        shots = [
            Shot(text, None, video_seed(self._seed, prompt_id(prompt), 0))
            for prompt, text in zip(prompts, completions, strict=True)
        ]
        found = judge(prompts, shots, self._generator, self._judges, self._metrics, self._store)
        for metric in self._metrics:
            found[metric.five] = found[metric.name] * metric.to_five
        return [float(value) for value in total(found, self._metrics, self._weights)]
