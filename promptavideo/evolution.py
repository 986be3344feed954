"""Reward-guided prompt evolution (Prompt-A-Video, its first stage): rounds of prompts, then pairs."""

from collections.abc import Sequence
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from promptavideo.errors import InputError
from promptavideo.metrics import Objective
from promptavideo.operators.asking import ask_variants
from promptavideo.operators.base import Operator, Request, Scored, TextLimits, render_instruction
from promptavideo.reading import Reader, advice, within
from promptavideo.settings import File, Ref, Section
from promptavideo.shots import prompts_table
from promptavideo.text import text_key
from promptavideo.totals import Selected, Thresholds, Weights, candidate_means, outside, passes, rejections


class RoundRule(Section):
    """What decides the prompts of a round, beside its operator and the scores of earlier rounds."""

    template: Annotated[str, File()] = "templates/evolution.txt"
    """The instruction, relative to the repository root; for generators of images `NAME_images.txt` beside it, where
    there is one."""
    variants: int = Field(default=3, ge=1)
    """New candidates a prompt and round."""
    attempts: int = Field(default=1, ge=1)
    """How often the operator is asked, at most, while a prompt has fewer usable variants."""
    parents: int = Field(default=3, ge=1)
    """Best candidates so far that the operator sees, besides the original as index 0."""
    replicates: int = Field(default=1, ge=1)
    """Videos a candidate, each with another seed; scores are averaged over them."""
    weights: Weights = Field(default={})
    """For the total, on the 0-5 scale."""
    limits: TextLimits = TextLimits()


class PairRule(Section):
    """Which candidates become SFT data."""

    weights: Weights = Field(default={})
    """For the total, on the 0-5 scale."""
    thresholds: Thresholds = Field(default={})
    """On the 0-5 scale, raw for metrics outside the objective; a pair exceeds them all. The paper does not publish its
    values."""
    min_gain: float | None = 0.0
    """A pair's total exceeds the original's by more than this; null also takes pairs worse than the original."""


class EvolutionConfig(RoundRule, PairRule):
    """How prompts evolve and which pairs become SFT data.

    Defaults are the paper's. The authors' code runs 8 rounds and adds up with weights DD 0.5 and 1 for the others.
    """

    prompts: Annotated[str, Ref("prompt_sets")]
    """Name of the prompt set."""
    operator: Annotated[str, Ref("operators")]
    """Name of the operator."""
    operators: Annotated[dict[str, str], Ref("operators")] = Field(default={})
    """{track: operator} of tracks whose prompts another operator evolves."""
    rounds: int = Field(default=4, ge=1)
    """Of proposing and filming; the paper's 4, the authors' 8."""
    story: list[str] = Field(default=[])
    """Prompts, or their ids, whose rounds `snakemake examples` shows; else those of the median and the largest gain."""

    def round(self, number: int) -> dict[str, Any]:
        """What decides a round's prompts, as JSON can hold it; round 0 films the originals, whatever comes later."""
        kept = {"replicates"} if number == 0 else set(RoundRule.model_fields)
        return self.model_dump(mode="json", include=kept)

    @property
    def pairs(self) -> dict[str, Any]:
        """What decides the pairs, however many rounds there are, as JSON can hold it."""
        return self.model_dump(mode="json", include=set(PairRule.model_fields))

    def operator_of(self, track: str) -> str:
        """Name of the operator that evolves a track's prompts."""
        return self.operators.get(track, self.operator)


def first_round(prompt_set: pd.DataFrame, config: RoundRule, run_seed: int) -> pd.DataFrame:
    """Round 0: the originals themselves, as candidate 0.

    Args:
        prompt_set: A `schemas.PROMPT_SET` table.
        config: Says how many replicates to film.
        run_seed: The run's seed.

    Returns:
        A `schemas.PROMPTS` table sorted by prompt_id.
    """
    prompts = dict(zip(prompt_set["prompt_id"], prompt_set["prompt"], strict=True))
    originals = {prompt_id: [prompt] for prompt_id, prompt in prompts.items()}
    return prompts_table(prompts, originals, run_seed, config.replicates)


def next_round(
    number: int,
    prompt_set: pd.DataFrame,
    scores: Sequence[pd.DataFrame],
    operator: Operator,
    template: str,
    config: RoundRule,
    objective: Objective,
    track: str,
    run_seed: int,
    readers: Sequence[Reader] = (),
) -> Selected:
    """Ask the operator for the candidates of round `number`.

    It sees the original and the best candidates of all earlier rounds with their scores (the top ones advance directly,
    ties go to the lower number). Candidates get the numbers 1 + (number - 1) * variants + i, unique over the rounds.

    Args:
        number: The round, from 1.
        prompt_set: A `schemas.PROMPT_SET` table.
        scores: `schemas.scores` tables of rounds 0 ... number - 1, in any order.
        operator: Writes the variants.
        template: The instruction template's text, from `operators.base.read_template`.
        config: The evolution's settings.
        objective: What a total adds up, and the operator sees.
        track: The track's name, part of the request's key.
        run_seed: The run's seed.
        readers: What bounds a candidate's tokens.

    Returns:
        A `schemas.PROMPTS` table sorted by prompt_id, candidate and replicate, and a line for each prompt of which
        variants were dropped or that got fewer than wanted. A prompt without a usable variant has no row.

    Raises:
        InputError: The scores do not fit the prompt set or the round, or no prompt got any usable variant.
        ScoreError: A score is not a finite number.
    """
    first = 1 + (number - 1) * config.variants
    candidates = candidate_means(pd.concat(scores, ignore_index=True), objective, config.weights)
    _check_candidates(candidates, prompt_set, first, number)
    prompts = dict(sorted(zip(prompt_set["prompt_id"], prompt_set["prompt"], strict=True)))
    filmed = {str(prompt_id): group for prompt_id, group in candidates.groupby("prompt_id")}
    histories = {prompt_id: _history(filmed[prompt_id], config.parents, objective) for prompt_id in prompts}
    fits = within(readers)
    requests = [
        Request(
            render_instruction(template, prompt, histories[prompt_id], config.variants, limit=advice(readers)),
            (track, run_seed, prompt_id, number),
            prompt,
            histories[prompt_id],
            config.variants,
            filmed[prompt_id]["refined"].tolist(),
            fits=fits,
        )
        for prompt_id, prompt in prompts.items()
    ]
    answers = ask_variants(operator, requests, config.limits, config.attempts)
    report = []
    for prompt_id, found in zip(prompts, answers, strict=True):
        if found.dropped or found.asked > 1 or len(found.variants) < config.variants:
            asked = f" after asking {found.asked} times" if found.asked > 1 else ""
            reasons = f"; dropped: {', '.join(found.dropped)}" if found.dropped else ""
            report.append(
                f"round {number}, {prompt_id}: {len(found.variants)} of {config.variants} variants{asked}{reasons}"
            )
    texts = {prompt_id: found.variants for prompt_id, found in zip(prompts, answers, strict=True)}
    if not any(texts.values()):
        raise InputError(
            f"round {number}: the operator gave no usable variant for any of {len(prompts)} prompts; {report[0]}"
        )
    return Selected(prompts_table(prompts, texts, run_seed, config.replicates, first), tuple(report))


def select_pairs(scores: Sequence[pd.DataFrame], config: PairRule, objective: Objective) -> Selected:
    """SFT data: of each prompt the candidate of highest total among those over every threshold (paper).

    The original is never a pair, nor is a text that equals it; ties go to the lower candidate number.

    Args:
        scores: `schemas.scores` tables of all rounds, in any order.
        config: Thresholds, weights and minimal gain.
        objective: What a total adds up.

    Returns:
        A `schemas.PAIRS` table sorted by prompt_id, and lines that count what was rejected and why.

    Raises:
        InputError: A prompt has no scored original, or there is no pair at all; then the message holds the counts.
        ScoreError: A score is not a finite number.
    """
    others = outside(config.thresholds, objective)
    candidates = candidate_means(pd.concat(scores, ignore_index=True), objective, config.weights, others=others)
    originals = candidates[candidates["candidate"] == 0].set_index("prompt_id")
    _check_originals(candidates["prompt_id"], originals.index)
    keys = candidates[["prompt", "refined"]].map(text_key)
    refined = candidates[(candidates["candidate"] > 0) & (keys["prompt"] != keys["refined"])]
    passed = passes(refined, config.thresholds)
    over = refined[passed.all(axis=1)]
    best = over.sort_values(["prompt_id", "total", "candidate"], ascending=[True, False, True])
    best = best.drop_duplicates("prompt_id")
    gain = best["total"] - originals["total"].reindex(best["prompt_id"]).to_numpy()
    pairs = best if config.min_gain is None else best[gain > config.min_gain]
    report = [
        f"{len(pairs)} pairs from {len(originals)} prompts with {len(refined)} candidates besides the originals",
        *rejections(passed, config.thresholds),
        f"no candidate exceeds every threshold for {len(originals) - len(best)} prompts",
    ]
    if config.min_gain is not None:
        report.append(
            f"the best candidate does not exceed the original's total by more than {config.min_gain:g} "
            f"for {len(best) - len(pairs)} prompts"
        )
    if pairs.empty:
        raise InputError(
            "evolution gives no pair to learn from: " + "; ".join(report) + "; lower evolution.thresholds or min_gain"
        )
    return Selected(pairs[["prompt_id", "prompt", "refined", "total"]].reset_index(drop=True), tuple(report))


def survivors(candidates: pd.DataFrame, parents: int) -> pd.DataFrame:
    """What the operator sees next of one prompt: the original, then the best others, best first.

    Args:
        candidates: Rows of `totals.candidate_means` of all rounds so far.
        parents: How many others, at most.
    """
    ranked = candidates.sort_values(["total", "candidate"], ascending=[False, True])
    return pd.concat([ranked[ranked["candidate"] == 0], ranked[ranked["candidate"] > 0].head(parents)])


def _history(candidates: pd.DataFrame, parents: int, objective: Objective) -> list[Scored]:
    return [
        Scored(row["refined"], {metric.name: row[metric.name] for metric in objective})
        for row in survivors(candidates, parents).to_dict("records")
    ]


def _check_candidates(candidates: pd.DataFrame, prompt_set: pd.DataFrame, first: int, number: int) -> None:
    known = prompt_set.set_index("prompt_id")["prompt"]
    strange = candidates[candidates["prompt"] != candidates["prompt_id"].map(known)]
    if len(strange):
        raise InputError(
            f"the scores hold the prompt {strange['prompt_id'].iloc[0]}, which the prompt set has not or has with "
            "another text: they are of another prompt set"
        )
    late = candidates[candidates["candidate"] >= first]
    if len(late):
        raise InputError(
            f"the scores given for round {number} hold candidate {late['candidate'].iloc[0]} of "
            f"{late['prompt_id'].iloc[0]}, but earlier rounds number below {first}: they are of a later round, or of "
            "another setting of evolution.variants"
        )
    _check_originals(prompt_set["prompt_id"], candidates.loc[candidates["candidate"] == 0, "prompt_id"])


def _check_originals(prompt_ids: pd.Series, scored: pd.Series | pd.Index) -> None:
    lost = sorted(set(prompt_ids) - set(scored))
    if lost:
        raise InputError(f"{len(lost)} prompts have no scored original (candidate 0), first {lost[0]}: score round 0")
