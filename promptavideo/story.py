"""The evolution of some prompts told round by round, in the layout of the paper's Table 5, for people to read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from promptavideo.additions import marked
from promptavideo.errors import InputError
from promptavideo.evolution import EvolutionConfig, survivors
from promptavideo.files import atomic_path, write_text
from promptavideo.metrics import Objective
from promptavideo.pages import page
from promptavideo.tables import LAPTOP, markdown_escape
from promptavideo.text import clean, text_key
from promptavideo.totals import candidate_means

NOTES = (
    "Scores are on the 0-5 scale, means over a candidate's videos; total is their weighted sum, by which candidates "
    "are ranked. Words that the original lacks, in any inflection, are {mark}.",
    "A candidate that survives is among the best of all rounds so far, which the operator sees next, beside the "
    "original. Totals are noisy, and the best of several looks better than it is.",
)
PRINTED_NOTE = (
    "The paper's example of a first round (Table 5 of Prompt-A-Video, arXiv 2412.15156), at the scale of that paper; "
    "total is the sum of its seven scores."
)


@dataclass(frozen=True)
class Told:
    """One candidate of a round."""

    number: int
    """0 for the original."""
    parts: tuple[tuple[str, bool], ...]
    """Its text in pieces, each with whether it was added to the original."""
    scores: Mapping[str, float]
    """By metric, on the 0-5 scale."""
    total: float
    survives: bool


@dataclass(frozen=True)
class Round:
    """What one round added."""

    number: int
    candidates: tuple[Told, ...]
    survivors: tuple[int, ...]
    """All candidates that the next round builds on, best first, the original aside."""


@dataclass(frozen=True)
class Story:
    """The evolution of one prompt."""

    prompt_id: str
    prompt: str
    chosen: str
    """Why it is shown."""
    best: int
    """The candidate of highest total, the original aside."""
    gain: float
    """Of its total over the original's."""
    rounds: tuple[Round, ...]


@dataclass(frozen=True)
class Stories:
    """What is told of a track."""

    track: str
    metrics: tuple[str, ...]
    stories: tuple[Story, ...]


def tell(rounds: Sequence[pd.DataFrame], config: EvolutionConfig, objective: Objective, track: str) -> Stories:
    """The evolution of the prompts that the configuration names, or of those of the median and the largest gain.

    Args:
        rounds: The `schemas.scores` table of each round, from 0.
        config: The evolution's settings.
        objective: What a total adds up.
        track: The track's name.

    Raises:
        InputError: `evolution.story` names a prompt that was not evolved, or no prompt has a candidate.
        ScoreError: A score is not a finite number.
    """
    parts = [
        candidate_means(table, objective, config.weights).assign(round=place) for place, table in enumerate(rounds)
    ]
    candidates = pd.concat(parts, ignore_index=True)
    by_prompt = {str(name): group for name, group in candidates.groupby("prompt_id", sort=True)}
    gains = {name: _gain(group) for name, group in by_prompt.items() if (group["candidate"] > 0).any()}
    if not gains:
        raise InputError(f"the evolution of {track} has no candidate beside the originals, so there is none to show")
    chosen = _named(config.story, candidates) if config.story else _of_gains(gains)
    metrics = tuple(metric.name for metric in objective)
    stories = [_story(by_prompt[name], why, config.parents, metrics, len(rounds)) for name, why in chosen.items()]
    return Stories(track, metrics, tuple(stories))


def read_printed(path: Path) -> pd.DataFrame:
    """The paper's Table 5 with the sum of its scores.

    Raises:
        InputError: The file is missing or something else.
    """
    try:
        table = pd.read_csv(path, dtype={"candidate": "str"})
        scores = table.drop(columns="candidate").astype(float)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read ({error}); restore it from the repository") from error
    return table.assign(total=scores.sum(axis=1))


def write(told: Stories, printed: pd.DataFrame, scale: str, stem: Path) -> None:
    """Write `stem`.md and `stem`.html. The same input gives the same bytes; every text is escaped in both.

    Args:
        told: What is told.
        printed: What the paper printed, from `read_printed`.
        scale: The configuration's.
        stem: Target path without a suffix.
    """
    write_text(stem.with_name(f"{stem.name}.md"), _markdown(told, printed, scale))
    html = page(
        "evolution.html.j2",
        told=told,
        title=clean(f"Evolution of prompts: {told.track}"),
        notes=_notes(scale, "underlined"),
        printed_note=PRINTED_NOTE,
        printed=_printed_cells(printed),
        printed_heads=[str(name) for name in printed],
    )
    with atomic_path(stem.with_name(f"{stem.name}.html")) as partial:
        partial.write_text(html, encoding="utf-8", errors="replace")


def _gain(candidates: pd.DataFrame) -> float:
    """Of the best candidate's total over the original's."""
    original = candidates["candidate"] == 0
    return float(candidates.loc[~original, "total"].max() - candidates.loc[original, "total"].iloc[0])


def _of_gains(gains: Mapping[str, float]) -> dict[str, str]:
    """The prompts of the median (the lower one of two) and the largest gain, each with why it was chosen."""
    ranked = sorted(gains, key=lambda name: (gains[name], name))
    if len(ranked) == 1:
        return {ranked[0]: "It is the only prompt."}
    largest = {ranked[-1]: f"Its gain is the largest among the {len(ranked)} prompts, so it is no typical one."}
    return {ranked[(len(ranked) - 1) // 2]: f"Its gain is the median among the {len(ranked)} prompts."} | largest


def _named(wanted: Sequence[str], candidates: pd.DataFrame) -> dict[str, str]:
    """The prompts that the configuration names by id or text."""
    prompts = dict(zip(candidates["prompt_id"], candidates["prompt"], strict=True))
    ids = {text_key(prompt): prompt_id for prompt_id, prompt in prompts.items()} | {one: one for one in prompts}
    found = {}
    for name in wanted:
        prompt_id = ids.get(name) or ids.get(text_key(name))
        if prompt_id is None:
            raise InputError(
                f"evolution.story: {name!r:.200} is no prompt of the evolution, nor the id of one; "
                f"those of {len(prompts)} prompts are in the column prompt_id of evolution/round-0/prompts.parquet"
            )
        found[prompt_id] = "It is named in the configuration (evolution.story)."
    return found


def _story(candidates: pd.DataFrame, chosen: str, parents: int, metrics: Sequence[str], rounds: int) -> Story:
    prompt = candidates["prompt"].iloc[0]
    told = []
    for number in range(rounds):
        kept = survivors(candidates[candidates["round"] <= number], parents)["candidate"].tolist()
        rows = candidates[candidates["round"] == number].sort_values("candidate").to_dict("records")
        ones = (
            Told(
                row["candidate"],
                marked(row["refined"], prompt),
                {name: float(row[name]) for name in metrics},
                float(row["total"]),
                row["candidate"] in kept,
            )
            for row in rows
        )
        told.append(Round(number, tuple(ones), tuple(one for one in kept if one)))
    best = survivors(candidates, 1)["candidate"].iloc[-1]
    return Story(candidates["prompt_id"].iloc[0], clean(prompt), chosen, int(best), _gain(candidates), tuple(told))


def _notes(scale: str, mark: str) -> list[str]:
    notes = [note.format(mark=mark) for note in NOTES]
    return [*notes, f"All but the paper's are {LAPTOP}"] if scale == "laptop" else notes


def _printed_cells(printed: pd.DataFrame) -> list[list[str]]:
    return [[value if isinstance(value, str) else f"{value:.2f}" for value in row] for row in printed.itertuples(False)]


def _markdown(told: Stories, printed: pd.DataFrame, scale: str) -> str:
    blocks = [f"# {markdown_escape(f'Evolution of prompts: {told.track}')}"]
    blocks += map(markdown_escape, _notes(scale, "bold"))
    for story in told.stories:
        blocks.append(f"## {markdown_escape(story.prompt)}")
        blocks.append(markdown_escape(f"{story.chosen} Its id is {story.prompt_id}."))
        blocks += [block for one in story.rounds for block in _markdown_round(one, told.metrics)]
        blocks.append(f"Best: candidate {story.best}, {story.gain:+.2f} over the original's total.")
    blocks += ["## In the paper", markdown_escape(PRINTED_NOTE)]
    return "\n\n".join([*blocks, _grid([str(name) for name in printed], _printed_cells(printed))]) + "\n"


def _markdown_round(one: Round, metrics: Sequence[str]) -> list[str]:
    heads = ["candidate", "text", *metrics, "total", "survives"]
    rows = []
    for told in one.candidates:
        text = "".join(f"**{markdown_escape(piece)}**" if added else _escaped(piece) for piece, added in told.parts)
        numbers = [f"{value:.2f}" for value in (*told.scores.values(), told.total)]
        rows.append(
            ["original" if told.number == 0 else str(told.number), text, *numbers, "yes" if told.survives else ""]
        )
    listed = ", ".join(map(str, one.survivors))
    after = [f"Survivors of all rounds so far: {listed}."] if listed else []
    grid = _grid(heads, rows) if rows else "No usable candidate."
    return [f"### Round {one.number}", grid, *after]


def _escaped(piece: str) -> str:
    """A piece of a text between others, whose spaces at the ends `clean` would take."""
    before, after = piece[: len(piece) - len(piece.lstrip())], piece[len(piece.rstrip()) :]
    return f"{before}{markdown_escape(piece)}{after}" if piece.strip() else piece


def _grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    align = ["left" if head in ("candidate", "text", "survives") else "right" for head in heads]
    cells = pd.DataFrame(rows, columns=[markdown_escape(head) for head in heads], dtype=object)
    return str(cells.to_markdown(index=False, tablefmt="pipe", disable_numparse=True, colalign=align))
