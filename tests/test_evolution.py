import re
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from makers import METRICS, SCORES, TO_FIVE, changed, message
from numpy.typing import NDArray
from pydantic import ValidationError

from promptavideo.errors import InputError, ScoreError
from promptavideo.evolution import EvolutionConfig, first_round, next_round, select_pairs
from promptavideo.metrics import PAPER, Metric
from promptavideo.miniature.world import QUALITY_WORDS
from promptavideo.operators.base import EVOLUTION_PLACEHOLDERS, Key, Operator, Request, read_template
from promptavideo.operators.recombine import RecombineConfig, RecombineOperator
from promptavideo.schemas import PAIRS, PROMPTS
from promptavideo.seeds import derive
from promptavideo.totals import candidate_means, total

TEMPLATE = "$history\nexactly $variants"
SHIPPED = Path(__file__).parents[1] / "templates" / "evolution.txt"
PROMPT_SET = pd.DataFrame({"prompt_id": ["p2", "p1", "p3"], "prompt": ["two", "one", "three"]})


def config(**settings: Any) -> EvolutionConfig:
    return EvolutionConfig(prompts="train", operator="op", **settings)


def score(prompts: pd.DataFrame, value_of: Callable[[dict[Hashable, Any]], Any]) -> pd.DataFrame:
    """SCORES of a PROMPTS table; `value_of(row)` gives one 0-5 score for all metrics, or a dict of them."""
    table = prompts.copy()
    table["key"] = [f"k{index}" for index in range(len(table))]
    values = []
    for row in prompts.to_dict("records"):
        value = value_of(row)
        values.append(value if isinstance(value, dict) else dict.fromkeys(METRICS, float(value)))
    for name in METRICS:
        table[name] = [value[name] / TO_FIVE[name] for value in values]
    for name in METRICS:
        table[f"{name}_5"] = [float(value[name]) for value in values]
    return SCORES.validate(table)


def rows(*items: tuple[str, int, str, Any]) -> pd.DataFrame:
    """SCORES of (prompt_id, candidate, refined, 0-5 score or dict); the prompt of p1 is `one`, and so on."""
    texts = dict(zip(PROMPT_SET["prompt_id"], PROMPT_SET["prompt"], strict=True))
    prompts = pd.DataFrame(
        [(prompt_id, texts[prompt_id], number, text, None, 0, 7) for prompt_id, number, text, _ in items],
        columns=list(PROMPTS.columns),
    )
    return score(prompts, lambda row: next(i[3] for i in items if i[:2] == (row["prompt_id"], row["candidate"])))


class Scripted(Operator):
    """Answers with fixed texts and keeps what it was asked."""

    def __init__(self, texts: list[str] | Callable[[Key], list[str]]) -> None:
        self.texts = texts
        self.asked: dict[Key, str] = {}

    def answer(self, request: Request) -> str:
        self.asked[request.key] = request.instruction
        texts = self.texts(request.key) if callable(self.texts) else self.texts
        return "".join(f"<PROMPT>{text}</PROMPT>" for text in texts)


# --- totals ---


def test_total_weighs_each_metric_on_either_scale() -> None:
    scores = rows(("p1", 0, "one", dict(zip(METRICS, (1.0, 2.0, 3.0, 4.0, 5.0, 2.5, 0.5), strict=True))))
    assert total(scores, PAPER, {}).tolist() == [18.0]
    # The authors' evolution score: VQ + TC + FC + TVA + 0.5 DD + AES * 5/8 + MPS / 4.
    assert total(scores, PAPER, {"DD": 0.5}).tolist() == [16.5]
    raw_aes, raw_mps = 4.0, 2.0
    weights = {"DD": 1.1, "TVA": 1.3, "AES": 0.8, "MPS": 1 / 3}
    assert total(scores, PAPER, weights, "raw").tolist() == pytest.approx(
        [1 + 2 + 1.1 * 3 + 1.3 * 4 + 5 + 0.8 * raw_aes + raw_mps / 3]
    )


def test_total_keeps_the_index_and_refuses_what_it_cannot_add() -> None:
    scores = rows(("p1", 0, "one", 1), ("p2", 0, "two", 2))
    scores.index = [5, 3]
    assert total(scores, PAPER, {}).to_dict() == {5: 7.0, 3: 14.0}
    scores.loc[3, "FC_5"] = np.nan
    with pytest.raises(ScoreError, match=r"FC_5 of prompt_id p2, candidate 0 is nan"):
        total(scores, PAPER, {})


def test_means_over_replicates_are_checked() -> None:
    two = pd.concat([rows(("p1", 0, "one", 1)), rows(("p1", 0, "one", 2)).assign(replicate=1)])
    means = candidate_means(two, PAPER, {})
    assert means[["VQ", "total"]].to_numpy().tolist() == [[1.5, 10.5]]
    with pytest.raises(InputError, match=r"twice.*p1"):
        candidate_means(pd.concat([two, two]), PAPER, {})


def test_bad_settings_are_refused() -> None:
    nothing = dict.fromkeys(METRICS, 0.0)
    assert "evolution.weights: all weights are 0" in message(changed("evolution/weights", nothing))
    assert "evolution.weights.XX: is not in the objective" in message(changed("evolution/weights", {"XX": 1.0}))
    for settings in (
        {"rounds": 0},
        {"variants": 0},
        {"weights": {"VQ": -1.0}},
        {"thresholds": {"VQ": "2"}},
        {"min": 1},
    ):
        with pytest.raises(ValidationError):
            config(**settings)


def test_defaults_are_the_papers() -> None:
    settings = config()
    assert (settings.rounds, settings.variants, settings.parents) == (4, 3, 3)
    assert settings.weights == {}
    assert settings.thresholds == {}


# --- rounds ---


def test_first_round_films_the_originals() -> None:
    table = PROMPTS.validate(first_round(PROMPT_SET, config(replicates=2), 11))
    assert table["prompt_id"].tolist() == ["p1", "p1", "p2", "p2", "p3", "p3"]
    assert table["refined"].tolist() == table["prompt"].tolist() == ["one", "one", "two", "two", "three", "three"]
    assert table["candidate"].unique().tolist() == [0]
    assert table["replicate"].tolist() == [0, 1] * 3
    assert table["seed"].nunique() == 6


def test_candidates_are_numbered_over_rounds_and_share_the_seed_of_their_prompt() -> None:
    settings = config(variants=3)
    operator = Scripted(lambda key: [f"{key[2]} r{key[3]} v{index}" for index in range(3)])
    tables = [first_round(PROMPT_SET, settings, 4)]
    scores = [score(tables[0], lambda row: 2)]
    for number in (1, 2):
        tables.append(next_round(number, PROMPT_SET, scores, operator, TEMPLATE, settings, PAPER, "gen", 4).table)
        scores.append(score(tables[-1], lambda row: 2))
    for number, table in enumerate(tables[1:], 1):
        PROMPTS.validate(table)
        assert table["prompt_id"].tolist() == ["p1"] * 3 + ["p2"] * 3 + ["p3"] * 3
        assert table["candidate"].tolist() == [3 * number - 2, 3 * number - 1, 3 * number] * 3
    film = pd.concat(tables)
    assert film.groupby(["prompt_id", "replicate"])["seed"].nunique().tolist() == [1, 1, 1]
    assert film["seed"].nunique() == 3
    assert tables[2]["refined"].tolist()[:3] == ["p1 r2 v0", "p1 r2 v1", "p1 r2 v2"]


def test_operator_sees_the_original_and_the_best_of_all_rounds() -> None:
    scores = [
        rows(("p1", 0, "one", 4.9)),  # the original stays index 0 although it is the best
        rows(("p1", 1, "a", 1.0), ("p1", 2, "b", 3.0), ("p1", 3, "c", 2.0)),
        rows(("p1", 4, "d", 3.0), ("p1", 5, "e", 4.0), ("p1", 6, "f", 0.5)),
    ]
    operator = Scripted(["x"])
    next_round(3, PROMPT_SET[1:2], scores, operator, TEMPLATE, config(), PAPER, "gen", 9)
    ((key, instruction),) = operator.asked.items()
    assert key == ("gen", 9, "p1", 3)
    lines = instruction.splitlines()
    # e is best; b and d tie, and the lower number comes first; c, a, f are left out.
    assert lines[0:8:2] == ["Prompt 0: one", "Prompt 1: e", "Prompt 2: b", "Prompt 3: d"]
    assert lines[1].startswith("Scores 0: VQ 4.90")
    assert lines[-1] == "exactly 3"


def test_parents_follow_the_weights() -> None:
    low = dict.fromkeys(METRICS, 1.0)
    scores = [
        rows(("p1", 0, "one", 2.0), ("p1", 1, "dynamic", low | {"DD": 4.0}), ("p1", 2, "sharp", low | {"VQ": 3.5}))
    ]
    for weights, best in (({}, "dynamic"), ({"DD": 0.5}, "sharp")):
        operator = Scripted(["x"])
        next_round(2, PROMPT_SET[1:2], scores, operator, TEMPLATE, config(parents=1, weights=weights), PAPER, "gen", 1)
        assert operator.asked[("gen", 1, "p1", 2)].splitlines()[2] == f"Prompt 1: {best}"


def test_repeats_are_dropped_reported_and_leave_no_gap() -> None:
    scores = [
        rows(*((f"p{i}", 0, text, 2) for i, text in ((1, "one"), (2, "two"), (3, "three")))),
        rows(("p1", 1, "old", 1)),
    ]
    answers = {"p1": ["Old.", "ONE", "new"], "p2": ["x", "y", "z"], "p3": [""]}
    operator = Scripted(lambda key: answers[str(key[2])])
    result = next_round(2, PROMPT_SET, scores, operator, TEMPLATE, config(), PAPER, "gen", 1)
    found = result.table[["prompt_id", "candidate", "refined"]].to_numpy().tolist()
    assert found == [["p1", 4, "new"], ["p2", 4, "x"], ["p2", 5, "y"], ["p2", 6, "z"]]
    assert result.report == (
        "round 2, p1: 1 of 3 variants; dropped: already filmed, equal to the original",
        "round 2, p3: 0 of 3 variants; dropped: empty",
    )


def test_too_few_variants_are_reported_even_without_drops() -> None:
    scores = [rows(("p1", 0, "one", 2))]
    result = next_round(1, PROMPT_SET[1:2], scores, Scripted(["a", "b"]), TEMPLATE, config(), PAPER, "gen", 1)
    assert result.report == ("round 1, p1: 2 of 3 variants",)


def test_no_variant_for_any_prompt_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"round 1: .*any of 1 prompts.*no <PROMPT> tags"):
        next_round(1, PROMPT_SET[1:2], [rows(("p1", 0, "one", 2))], Scripted([]), TEMPLATE, config(), PAPER, "gen", 1)


@pytest.mark.parametrize(
    ("number", "scores", "message"),
    [
        (1, [rows(("p2", 0, "two", 2))], "p2, which the prompt set has not"),
        (1, [rows(("p1", 0, "one", 2)).assign(prompt="other")], "with another text"),
        (1, [rows(("p1", 0, "one", 2), ("p1", 1, "a", 2))], "candidate 1 of p1.*below 1"),
        (2, [rows(("p1", 1, "a", 2))], "no scored original.*first p1"),
        (2, [rows(("p1", 0, "one", 2)), rows(("p1", 0, "one", 2))], "twice"),
    ],
)
def test_scores_that_do_not_fit_are_input_errors(number: int, scores: list[pd.DataFrame], message: str) -> None:
    with pytest.raises(InputError, match=message):
        next_round(number, PROMPT_SET[1:2], scores, Scripted(["x"]), TEMPLATE, config(), PAPER, "gen", 1)


def shuffled(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    return table.sample(frac=1, random_state=seed).reset_index(drop=True)


def noisy(row: dict[Hashable, Any]) -> dict[str, float]:
    rng = np.random.default_rng(derive("noise", row["prompt_id"], row["candidate"], row["replicate"]))
    return dict(zip(METRICS, rng.uniform(1, 4, 7).tolist(), strict=True))


def test_results_do_not_depend_on_the_order_of_rows() -> None:
    settings = config(replicates=3)
    operator = RecombineOperator(RecombineConfig(kind="recombine"))
    template = read_template(SHIPPED, EVOLUTION_PLACEHOLDERS)
    ids = [f"p{index:02d}" for index in range(12)]
    prompt_set = pd.DataFrame({"prompt_id": ids, "prompt": [f"a red ball number {index}" for index in range(12)]})
    scores = [score(first_round(prompt_set, settings, 1), noisy)]
    for number in (1, 2):
        plain = next_round(number, prompt_set, scores, operator, template, settings, PAPER, "gen", 1)
        for seed in (1, 2):
            mixed = [shuffled(table, seed) for table in scores[::-1]]
            again = next_round(number, shuffled(prompt_set, seed), mixed, operator, template, settings, PAPER, "gen", 1)
            pd.testing.assert_frame_equal(again.table, plain.table)
            assert again.report == plain.report
        scores.append(score(plain.table, noisy))
    pairs = select_pairs(scores, settings, PAPER)
    again = select_pairs([shuffled(table, 3) for table in scores[::-1]], settings, PAPER)
    pd.testing.assert_frame_equal(again.table, pairs.table, check_exact=True)
    assert again.report == pairs.report
    # One prompt alone gets what it got among the others.
    alone = [table[table["prompt_id"] == "p05"] for table in scores[:2]]
    single = next_round(2, prompt_set[5:6], alone, operator, template, settings, PAPER, "gen", 1).table
    together = plain.table[plain.table["prompt_id"] == "p05"].reset_index(drop=True)
    pd.testing.assert_frame_equal(single, together)


# --- pairs ---


def test_pairs_are_the_best_over_every_threshold() -> None:
    good = dict.fromkeys(METRICS, 3.0)
    scores = [
        rows(("p2", 0, "two", 2), ("p1", 0, "one", 2), ("p3", 0, "three", 2)),
        rows(
            ("p1", 1, "best but still", dict.fromkeys(METRICS, 4.0) | {"DD": 2.5}),  # on the threshold is not over
            ("p1", 2, "chosen", good | {"VQ": 3.2}),
            ("p1", 3, "as good, later", good | {"TC": 3.2}),
            ("p2", 1, "ok", good),
            ("p2", 2, "better", good | {"AES": 3.5}),
            ("p3", 1, "bad", good | {"DD": 2.0, "VQ": 1.0}),
        ),
    ]
    result = select_pairs(scores, config(thresholds={"VQ": 1.5, "DD": 2.5}), PAPER)
    PAIRS.validate(result.table)
    assert result.table[["prompt_id", "prompt", "refined"]].to_numpy().tolist() == [
        ["p1", "one", "chosen"],
        ["p2", "two", "better"],
    ]
    assert result.table["total"].tolist() == pytest.approx([21.2, 21.5])
    assert result.report == (
        "2 pairs from 3 prompts with 6 candidates besides the originals",
        "VQ > 1.5 rejects 1 of 6 candidates",
        "DD > 2.5 rejects 2 of 6 candidates",
        "no candidate exceeds every threshold for 1 prompts",
        "the best candidate does not exceed the original's total by more than 0 for 0 prompts",
    )


def test_original_is_never_a_pair() -> None:
    scores = [
        rows(("p1", 0, "one", 4), ("p2", 0, "two", 1), ("p3", 0, "three", 2)),
        rows(("p1", 1, "worse", 3), ("p2", 1, "TWO.", 3), ("p2", 2, "fine", 2), ("p3", 1, "equal", 2)),
    ]
    result = select_pairs(scores, config(), PAPER)
    assert result.table["refined"].tolist() == ["fine"]
    assert result.report[-1].endswith("more than 0 for 2 prompts")
    assert select_pairs(scores, config(min_gain=None), PAPER).table["refined"].tolist() == ["worse", "fine", "equal"]
    assert select_pairs(scores, config(min_gain=-0.5), PAPER).table["refined"].tolist() == ["fine", "equal"]


def test_no_pair_says_which_threshold_rejected_how_many() -> None:
    scores = [rows(("p1", 0, "one", 1)), rows(("p1", 1, "a", 2), ("p1", 2, "b", 3))]
    with pytest.raises(InputError) as error:
        select_pairs(scores, config(thresholds={"VQ": 2.5, "MPS": 3.5}), PAPER)
    assert "VQ > 2.5 rejects 1 of 2 candidates" in str(error.value)
    assert "MPS > 3.5 rejects 2 of 2 candidates" in str(error.value)
    with pytest.raises(InputError, match=r"more than 20 for 1 prompts.*min_gain"):
        select_pairs(scores, config(min_gain=20.0), PAPER)
    with pytest.raises(InputError, match="0 candidates besides the originals"):
        select_pairs(scores[:1], config(thresholds={"VQ": 1.5}), PAPER)


def test_a_threshold_outside_the_objective_is_raw_and_averaged_over_replicates() -> None:
    one = rows(("p1", 0, "one", 1), ("p1", 1, "best", 4), ("p1", 2, "true", 3), ("p1", 3, "on it", 3.5))
    scores = [one.assign(KEEP=[0.1, 0.4, 0.75, 0.5]), one.assign(replicate=1, KEEP=[0.1, 0.4, 0.45, 0.5])]
    result = select_pairs(scores, config(thresholds={"KEEP": 0.5, "VQ": 0.5}), PAPER)
    PAIRS.validate(result.table)
    assert result.table["refined"].tolist() == ["true"], "the mean of 0.75 and 0.45 is over 0.5, and 0.5 is not"
    assert result.table["total"].tolist() == [21.0], "the total holds the objective alone"
    assert "KEEP > 0.5 rejects 2 of 3 candidates" in result.report


def test_pairs_of_another_objective_add_that_up_alone() -> None:
    objective = [Metric("VQ", 1, 4), Metric("SHARP", 0, 100, 1 / 20)]
    scores = rows(("p1", 0, "one", 1), ("p1", 1, "a", 2), ("p1", 2, "b", 1)).assign(SHARP_5=[1.0, 1.0, 4.0])
    result = select_pairs([scores], config(weights={"SHARP": 0.5}), objective)
    assert result.table[["refined", "total"]].to_numpy().tolist() == [["b", 3.0]]


def test_pairs_need_the_originals_scores() -> None:
    with pytest.raises(InputError, match="no scored original"):
        select_pairs([rows(("p1", 1, "a", 2))], config(), PAPER)


# --- the operator makes progress ---


def named(refined: str, prompt: str) -> NDArray[np.int64]:
    """The factors that the phrases after the prompt name: 1 good, -1 bad, 0 not named."""
    clauses = [clause.strip() for clause in re.split("[.,]", refined[len(prompt) :].lower())]
    signs = [
        np.sign(sum(clause in good for clause in clauses) - sum(clause in bad for clause in clauses))
        for good, bad in QUALITY_WORDS.values()
    ]
    return np.array(signs)


@pytest.mark.parametrize("flip", [1, -1])
def test_evolution_finds_the_helpful_phrases_whichever_they_are(flip: int) -> None:
    """Each factor moves a metric of its own by 1 of 5, with noise 0.25; with flip=-1 the *bad* wordings help."""

    def value_of(row: dict[Hashable, Any]) -> dict[str, float]:
        values = np.full(7, 2.5)
        values[[0, 1, 2, 4, 5, 6]] += flip * named(row["refined"], row["prompt"])
        noise = np.random.default_rng(derive("noise", row["prompt_id"], row["candidate"])).normal(0, 0.25, 7)
        return dict(zip(METRICS, (values + noise).tolist(), strict=True))

    ids = [f"p{index:02d}" for index in range(40)]
    prompt_set = pd.DataFrame({"prompt_id": ids, "prompt": "a red ball drifting left"})
    settings = config(min_gain=None)
    operator = RecombineOperator(RecombineConfig(kind="recombine"))
    template = read_template(SHIPPED, EVOLUTION_PLACEHOLDERS)
    scores = [score(first_round(prompt_set, settings, 1), value_of)]
    progress = []
    for number in range(1, 5):
        table = next_round(number, prompt_set, scores, operator, template, settings, PAPER, "gen", 1).table
        scores.append(score(table, value_of))
        best = select_pairs(scores, settings, PAPER).table
        signs = flip * np.array([named(*texts) for texts in zip(best["refined"], best["prompt"], strict=True)])
        progress.append(((signs > 0).sum(axis=1).mean(), (signs < 0).sum(axis=1).mean()))
    helpful, harmful = zip(*progress, strict=True)
    assert list(helpful) == sorted(helpful)
    assert helpful[-1] >= 4
    assert harmful[-1] < 0.6
    assert best["refined"].map(lambda text: len(text.split())).max() <= 45
