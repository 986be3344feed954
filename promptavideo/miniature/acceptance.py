"""Whether a generator of the synthetic world obeys wording well enough to learn from: the miniature's acceptance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from promptavideo.errors import InputError
from promptavideo.files import write_text
from promptavideo.judges.detector import detect
from promptavideo.judges.pixels import PixelJudge, PixelPreference
from promptavideo.metrics import AES, HPS, MPS, PAPER, Metric
from promptavideo.miniature.dialects import DIALECTS, Dialect, DialectName
from promptavideo.miniature.world import (
    BACKGROUND_WORDS,
    IN_TIME,
    MOTION_WORDS,
    QUALITIES,
    SHAPE_WORDS,
    Scene,
    random_scene,
)
from promptavideo.seeds import derive
from promptavideo.sheets import SheetRow
from promptavideo.shots import Shot
from promptavideo.video import Clip, Filmed

Film = Callable[[list[Shot]], list[Clip]]
"""Films shots: one clip each, in order."""

WORDINGS = ("short", "good", "bad")
LEAST_SHARE = {"colour": 0.95, "background": 0.85, "motion": 0.70, "shape": 0.60, "good beats short": 0.85}
LEAST_NOISES = 2.0
LEAST_DIMENSIONS: Mapping[Filmed, int] = {"video": 4, "image": 3}
"""So many dimensions must move by more than `LEAST_NOISES` times their seed noise."""
MEASURED: Mapping[Filmed, Sequence[Metric]] = {"video": PAPER, "image": (AES, MPS, HPS)}
"""The dimensions of each medium."""
UNSEEN = "in-time"
"""The words of qualities of which an image shows nothing, beside the dialects."""
FOREIGN_PART = 0.1  # of what its own words move a dimension by, another dialect's may move it
EXAMPLE_PROMPTS = 5


@dataclass(frozen=True)
class Wordings:
    """One prompt's content and its three texts, the latter two in the generator's dialect."""

    scene: Scene
    short: str
    good: str
    bad: str
    foreign: Mapping[str, tuple[str, str]]
    """{another dialect, or `UNSEEN`: good and bad text in it}."""


@dataclass(frozen=True)
class Criterion:
    """One acceptance criterion: what was measured, and the least that is accepted."""

    name: str
    value: float
    least: float

    @property
    def holds(self) -> bool:
        """Whether the measured value reaches the least accepted one."""
        return self.value >= self.least


@dataclass(frozen=True)
class Report:
    """What `measure` found.

    `foreign` has a row a dimension and a column a foreign dialect, or `UNSEEN`: the effect of its words, in the noise
    of `rewards`.
    `detected` has a row a content factor and the columns `short`, `good`, `bad` and `asked` (short and good together):
    the fraction of clips that show what was asked. `rewards` has a row a dimension and the columns `short`, `good`,
    `bad` (mean raw scores), `noise` (standard deviation over the seeds of a prompt, good wording) and `effect`
    ((good - bad) / noise). `examples` are rows of a contact sheet.
    """

    medium: Filmed
    seed: int
    prompts: int
    seeds: int
    detected: pd.DataFrame
    rewards: pd.DataFrame
    foreign: pd.DataFrame
    criteria: tuple[Criterion, ...]
    examples: tuple[SheetRow, ...]

    @property
    def accepted(self) -> bool:
        """Whether every criterion holds."""
        return all(criterion.holds for criterion in self.criteria)


def draw_wordings(seed: int, prompts: int, dialect: DialectName = "plain", medium: Filmed = "video") -> list[Wordings]:
    """Fresh prompts: content alone, and the same with a good or a bad word of a dialect for every quality factor that a
    medium shows."""
    drawn = []
    for index in range(prompts):
        rng = np.random.default_rng(derive("acceptance", seed, index))
        scene = random_scene(rng)
        content = " ".join(
            (
                f"a {scene.colour}",
                str(rng.choice(SHAPE_WORDS[scene.shape])),
                str(rng.choice(MOTION_WORDS[scene.motion])),
                str(rng.choice(BACKGROUND_WORDS[scene.background])),
            )
        )
        every = rng.permutation(QUALITIES).tolist()
        order = every if medium == "video" else [quality for quality in every if quality not in IN_TIME]
        own = _said(content, DIALECTS[dialect], order, rng)
        said: dict[str, tuple[str, str]] = {
            name: _said(content, DIALECTS[name], order, rng) for name in _others(dialect)
        }
        if medium == "image":
            said[UNSEEN] = _said(content, DIALECTS[dialect], IN_TIME, rng)
        drawn.append(Wordings(scene, f"{content}.", *own, said))
    return drawn


def _others(dialect: str) -> list[DialectName]:
    return [name for name in DIALECTS if name != dialect]


def _said(content: str, dialect: Dialect, order: Sequence[str], rng: np.random.Generator) -> tuple[str, str]:
    """A text with a good word, and one with a bad word, on each quality."""
    good, bad = (", ".join(str(rng.choice(dialect[quality][end])) for quality in order) for end in (0, 1))
    return f"{content}. {good[0].upper()}{good[1:]}.", f"{content}. {bad[0].upper()}{bad[1:]}."


def measure(
    film: Film,
    seed: int,
    prompts: int = 60,
    seeds: int = 3,
    dialect: DialectName = "plain",
    medium: Filmed = "video",
) -> Report:
    """Film fresh prompts in three wordings with the same video seeds, and check the acceptance criteria.

    Args:
        film: The generator under test; called once a wording and dialect, with `prompts * seeds` shots.
        seed: Draws the prompts and the video seeds.
        prompts: Number of prompts.
        seeds: Videos a prompt and wording, at least 2 (their spread is the seed noise).
        dialect: That the generator was trained on.
        medium: What it films; of images no motion is asked.

    Raises:
        InputError: Fewer than one prompt or two seeds, or `film` gave another number of clips.
        ScoreError: A clip cannot be scored.
    """
    if prompts < 1 or seeds < 2:
        raise InputError(f"acceptance needs prompts >= 1 and seeds >= 2, not {prompts} and {seeds}")
    drawn = draw_wordings(seed, prompts, dialect, medium)
    jobs = [(asked, derive("acceptance", seed, i, k)) for i, asked in enumerate(drawn) for k in range(seeds)]
    clips = {
        wording: _film(film, [Shot(getattr(asked, wording), None, video_seed) for asked, video_seed in jobs])
        for wording in WORDINGS
    }
    detected = _detected([asked.scene for asked, _ in jobs], clips, medium)
    originals = [asked.short for asked, _ in jobs]
    metrics = MEASURED[medium]
    scores = {wording: _scores(clips[wording], originals, metrics) for wording in WORDINGS}
    rewards = _rewards(scores, seeds)
    foreign = pd.DataFrame(
        {name: _foreign_effect(film, jobs, name, rewards["noise"], metrics) for name in drawn[0].foreign},
        index=rewards.index,
    )
    total = {
        wording: table.mul(pd.Series({metric.name: metric.to_five for metric in metrics})).sum(axis=1)
        for wording, table in scores.items()
    }
    moved = int((rewards["effect"] > LEAST_NOISES).sum())
    shares = {**detected["asked"].to_dict(), "good beats short": (total["good"] > total["short"]).mean()}
    return Report(
        medium=medium,
        seed=seed,
        prompts=prompts,
        seeds=seeds,
        detected=detected,
        rewards=rewards,
        foreign=foreign,
        criteria=(
            *(Criterion(name, float(shares[name]), least) for name, least in LEAST_SHARE.items() if name in shares),
            Criterion(f"dimensions moved by more than {LEAST_NOISES:g} x seed noise", moved, LEAST_DIMENSIONS[medium]),
            *(
                Criterion(
                    f"dimensions that {name} words move by no more, or by a tenth of its own words at most",
                    int((effect.abs() <= np.maximum(LEAST_NOISES, FOREIGN_PART * rewards["effect"].abs())).sum()),
                    len(metrics),
                )
                for name, effect in foreign.items()
                if medium == "video" or name == UNSEEN  # transfer between dialects is studied on videos
            ),
        ),
        examples=tuple(
            SheetRow(asked.short, [(word, getattr(asked, word), clips[word][i * seeds]) for word in WORDINGS])
            for i, asked in enumerate(drawn[:EXAMPLE_PROMPTS])
        ),
    )


def _scores(clips: Sequence[Clip], prompts: Sequence[str], metrics: Sequence[Metric]) -> pd.DataFrame:
    """A row a clip and a column a metric: raw scores."""
    every = pd.DataFrame(PixelJudge().score(clips, prompts)).join(pd.DataFrame(PixelPreference().score(clips, prompts)))
    return every[[metric.name for metric in metrics]]


def _foreign_effect(
    film: Film, jobs: Sequence[tuple[Wordings, int]], dialect: str, noise: pd.Series, metrics: Sequence[Metric]
) -> pd.Series:
    """What the words of another dialect move, (good - bad) in units of the seed noise, by dimension."""
    originals = [asked.short for asked, _ in jobs]
    good, bad = (
        _scores(_film(film, shots), originals, metrics).mean()
        for shots in zip(
            *([Shot(text, None, seed) for text in asked.foreign[dialect]] for asked, seed in jobs), strict=True
        )
    )
    return ((good - bad) / noise).fillna(0.0)  # 0 / 0: nothing moved


def _film(film: Film, shots: Sequence[Shot]) -> list[Clip]:
    clips = film(list(shots))
    if len(clips) != len(shots):
        raise InputError(f"the generator gave {len(clips)} clips for {len(shots)} texts")
    return clips


def _detected(asked: Sequence[Scene], clips: dict[str, list[Clip]], medium: Filmed) -> pd.DataFrame:
    factors = ("colour", "background", *(("motion",) if medium == "video" else ()), "shape")
    rates: dict[str, list[float]] = {}
    for wording, filmed in clips.items():
        seen = [detect(clip.frames) for clip in filmed]
        rates[wording] = [
            float(np.mean([getattr(a, factor) == getattr(s, factor) for a, s in zip(asked, seen, strict=True)]))
            for factor in factors
        ]
    table = pd.DataFrame(rates, index=pd.Index(factors, name="factor"))
    table["asked"] = table[["short", "good"]].mean(axis=1)
    return table


def _rewards(scores: dict[str, pd.DataFrame], seeds: int) -> pd.DataFrame:
    """`scores` holds rows prompt by prompt, `seeds` rows each."""
    table = pd.DataFrame({wording: scores[wording].mean() for wording in WORDINGS})
    prompt = np.arange(len(scores["good"])) // seeds
    table["noise"] = np.sqrt(scores["good"].groupby(prompt).var(ddof=1).mean())
    gain = table["good"] - table["bad"]
    table["effect"] = (gain / table["noise"]).fillna(0.0)  # 0 / 0: nothing moved
    return table.rename_axis("dimension")


def write_card(report: Report, path: Path) -> None:
    """Write a report as a Markdown card."""
    verdict = "accepted" if report.accepted else "NOT accepted"
    lines = [
        "# Acceptance of the miniature generator" + (" of images" if report.medium == "image" else ""),
        "",
        f"{report.prompts} fresh prompts x {report.seeds} seeds x 3 wordings, seed {report.seed}: **{verdict}**.",
        "",
        "| criterion | measured | at least | holds |",
        "|---|---|---|---|",
        *(f"| {c.name} | {c.value:.3g} | {c.least:g} | {'yes' if c.holds else 'no'} |" for c in report.criteria),
        "",
        "## Content detected as asked (fraction of clips)",
        "",
        "| factor | short | good | bad | short and good |",
        "|---|---|---|---|---|",
        *(
            f"| {factor} | {row['short']:.3f} | {row['good']:.3f} | {row['bad']:.3f} | {row['asked']:.3f} |"
            for factor, row in report.detected.iterrows()
        ),
        "",
        "## Rewards by wording",
        "",
        "Mean raw scores; the seed noise is the standard deviation over the seeds of a prompt (good wording);",
        "the effect is (good - bad) in units of it.",
        "",
        "| dimension | short | good | bad | seed noise | effect |",
        "|---|---|---|---|---|---|",
        *(
            f"| {name} | {row['short']:.2f} | {row['good']:.2f} | {row['bad']:.2f} | {row['noise']:.2f} "
            f"| {row['effect']:.1f} |"
            for name, row in report.rewards.iterrows()
        ),
        "",
        "## Words of other dialects",
        "",
        "The effect of (good - bad) words that the generator was not trained on, in the same units.",
        *([f"{UNSEEN}: words of what an image does not show."] if UNSEEN in report.foreign else []),
        "",
        f"| dimension | {' | '.join(map(str, report.foreign))} |",
        f"|---|{'---|' * report.foreign.shape[1]}",
        *(
            f"| {name} | {' | '.join(f'{effect:.1f}' for effect in row)} |"
            for name, *row in report.foreign.itertuples(name=None)
        ),
        "",
    ]
    write_text(path, "\n".join(lines))
