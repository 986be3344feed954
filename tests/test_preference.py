from typing import Any

import numpy as np
import pandas as pd
import pytest
from makers import METRICS, SCORES, TO_FIVE
from pydantic import ValidationError

from promptavideo.errors import InputError, ScoreError
from promptavideo.metrics import PAPER
from promptavideo.preference import AuthorsConfig, BestWorstConfig, PreferenceConfig, make_triples
from promptavideo.schemas import TRIPLES
from promptavideo.totals import Selected

# Raw scores over every threshold of the authors' code.
FINE = {"VQ": 3.0, "TC": 3.0, "DD": 3.0, "TVA": 3.0, "FC": 3.0, "AES": 6.0, "MPS": 9.0}
FINE_TOTAL = 3 + 3 + 1.1 * 3 + 1.3 * 3 + 3 + 0.8 * 6 + 9 / 3  # 24.0, by the authors' weights


def scores(*items: tuple[str, int, str, dict[str, float]]) -> pd.DataFrame:
    """SCORES of (prompt_id, candidate, text, changes to FINE)."""
    table = pd.DataFrame(
        [(name, f"prompt of {name}", number, text, None, 0, 7, f"k{name}{number}") for name, number, text, _ in items],
        columns=["prompt_id", "prompt", "candidate", "refined", "negative", "replicate", "seed", "key"],
    )
    for name in METRICS:
        table[name] = [float((FINE | changed)[name]) for *_, changed in items]
    for name in METRICS:
        table[f"{name}_5"] = table[name] * TO_FIVE[name]
    return SCORES.validate(table)


def best_worst(**changed: Any) -> PreferenceConfig:
    return PreferenceConfig(prompts="train", best_worst=BestWorstConfig(**changed))


def authors(**changed: Any) -> PreferenceConfig:
    return PreferenceConfig(prompts="train", rule="authors", authors=AuthorsConfig(**changed))


def triples(table: pd.DataFrame, config: PreferenceConfig) -> Selected:
    return make_triples(table, config, PAPER)


def texts(result: Selected) -> list[list[str]]:
    return result.table[["prompt_id", "chosen", "rejected"]].to_numpy().tolist()


def test_defaults_are_the_papers_and_the_authors() -> None:
    config = PreferenceConfig(prompts="train")
    assert (config.rule, config.rounds, config.candidates) == ("best-worst", 2, 5)
    assert config.best_worst.weights == config.best_worst.thresholds == {}
    assert config.authors.weights == {"DD": 1.1, "TVA": 1.3, "AES": 0.8, "MPS": 1 / 3}
    expected = {"VQ": 2.6, "TC": 2.6, "DD": 2.65, "TVA": 2.9, "FC": 2.55, "AES": 5.5, "MPS": 8.5}
    assert config.authors.thresholds == expected
    assert (config.authors.ranks, config.authors.min_gap, config.authors.max_words) == (2, 1.4, 130)


def test_bad_settings_are_refused() -> None:
    for changed in ({"rule": "worst"}, {"rounds": 0}, {"candidates": 1}, {"authors": {"ranks": 0}}, {"gap": 1}):
        with pytest.raises(ValidationError):
            PreferenceConfig(prompts="train", **changed)


# --- best and worst ---


def test_best_and_worst_of_each_prompt() -> None:
    table = scores(
        ("p2", 0, "low", {"VQ": 1}),
        ("p2", 1, "high", {"VQ": 4}),
        ("p1", 0, "middle", {"VQ": 2}),
        ("p1", 1, "worst", {"VQ": 1}),
        ("p1", 2, "best", {"VQ": 3}),
    )
    result = triples(table, best_worst())
    TRIPLES.validate(result.table)
    assert texts(result) == [["p1", "best", "worst"], ["p2", "high", "low"]]
    # On the 0-5 scale: VQ + 4 * 3 + 6 * 5/8 + 9 / 4.
    assert result.table["chosen_total"].tolist() == pytest.approx([3 + 18, 4 + 18])
    assert result.table["rejected_total"].tolist() == pytest.approx([1 + 18, 1 + 18])
    assert result.table["prompt"].tolist() == ["prompt of p1", "prompt of p2"]


def test_best_worst_uses_its_own_weights_on_the_0_to_5_scale() -> None:
    table = scores(("p1", 0, "pretty", {"AES": 8}), ("p1", 1, "moving", {"DD": 4.5}))
    # AES + 2 raw is + 1.25 on the 0-5 scale, below the + 1.5 of DD.
    assert texts(triples(table, best_worst())) == [["p1", "moving", "pretty"]]
    assert texts(triples(table, best_worst(weights={"DD": 0.5}))) == [["p1", "pretty", "moving"]]


def test_minimal_gap_and_equal_totals() -> None:
    table = scores(
        ("p1", 0, "a", {"VQ": 3.5}),
        ("p1", 1, "b", {}),
        ("p2", 0, "c", {}),
        ("p2", 1, "d", {}),
        ("p3", 0, "e", {"VQ": 4}),
        ("p3", 1, "f", {}),
    )
    result = triples(table, best_worst(min_gap=0.5))
    assert texts(result) == [["p3", "e", "f"]]
    assert "gap > 0.5 (best_worst.min_gap) rejects 2 prompts" in result.report
    assert texts(triples(table, best_worst())) == [["p1", "a", "b"], ["p3", "e", "f"]]


def test_one_text_is_never_both_chosen_and_rejected() -> None:
    table = scores(
        ("p1", 0, "A cat.", {"VQ": 4}), ("p1", 1, "a  cat", {"VQ": 1}), ("p2", 0, "x", {"VQ": 4}), ("p2", 1, "y", {})
    )
    result = triples(table, best_worst())
    assert texts(result) == [["p2", "x", "y"]]
    assert result.report[0] == "1 triples from 2 prompts with 3 distinct texts"
    assert "1 prompts have a single distinct text" in result.report


def test_no_triple_counts_the_reasons() -> None:
    with pytest.raises(InputError, match=r"best-worst.*1 prompts have a single.*gap > 9 .*rejects 1 prompts"):
        triples(scores(("p1", 0, "a", {}), ("p2", 0, "b", {"VQ": 4}), ("p2", 1, "c", {})), best_worst(min_gap=9))


def test_a_chosen_text_exceeds_every_threshold_and_the_rejected_need_not() -> None:
    table = scores(
        ("p1", 0, "best but plain", {"TVA": 5, "AES": 4}),
        ("p1", 1, "second", {"TVA": 4}),
        ("p1", 2, "worst", {"TVA": 1, "AES": 4.8}),
        ("p2", 0, "on it", {"AES": 4.8}),
        ("p2", 1, "under it", {"AES": 2}),
        ("p3", 0, "the one over it is the worst", {"VQ": 2}),
        ("p3", 1, "better in all else", {"AES": 4, "MPS": 20}),
    )
    result = triples(table, best_worst(thresholds={"AES": 3.0}))  # 4.8 raw, on the 0-5 scale
    TRIPLES.validate(result.table)
    assert texts(result) == [["p1", "second", "worst"]]
    assert "AES > 3 rejects 5 of 7 candidates" in result.report
    assert "no candidate exceeds every threshold for 1 prompts" in result.report
    assert "gap > 0 (best_worst.min_gap) rejects 1 prompts" in result.report, "the best over it is the worst of p3"


def test_no_triple_over_a_threshold_counts_the_reasons() -> None:
    table = scores(("p1", 0, "a", {}), ("p1", 1, "b", {"VQ": 1}))
    with pytest.raises(InputError, match=r"VQ > 4 rejects 2 of 2 candidates; no candidate exceeds every .* 1 prompts"):
        triples(table, best_worst(thresholds={"VQ": 4.0}))


@pytest.mark.parametrize("config", [best_worst(thresholds={"KEEP": 0.5}), authors(thresholds={"KEEP": 0.5}, ranks=3)])
def test_a_threshold_outside_the_objective_is_raw(config: PreferenceConfig) -> None:
    table = scores(
        ("p1", 0, "loses the ball", {"VQ": 9}), ("p1", 1, "keeps all", {"VQ": 6}), ("p1", 2, "worst", {"VQ": 2.7})
    ).assign(KEEP=[0.5, 0.9, 0.1])
    result = triples(table, config)
    assert texts(result) == [["p1", "keeps all", "worst"]]
    assert any(line.startswith("KEEP > 0.5 rejects 2 of 3 candidates") for line in result.report)
    plain = make_triples(table, best_worst(), PAPER)
    assert texts(plain) == [["p1", "loses the ball", "worst"]]
    total = result.table["chosen_total"][0] - result.table["rejected_total"][0]
    assert total == pytest.approx(3.3), "the total holds the objective alone"


def test_constants_replace_the_authors_one_by_one_and_null_takes_one_away() -> None:
    given = AuthorsConfig.model_validate({"weights": {"DD": 2.0, "MPS": None}, "thresholds": {"VQ": None, "KEEP": 0.5}})
    assert given.weights == {"DD": 2.0, "TVA": 1.3, "AES": 0.8}
    assert given.thresholds == {"TC": 2.6, "FC": 2.55, "DD": 2.65, "TVA": 2.9, "AES": 5.5, "MPS": 8.5, "KEEP": 0.5}


# --- the authors' rule ---


def test_authors_rule_pairs_the_two_best_with_all_clearly_worse() -> None:
    table = scores(
        ("p1", 0, "fourth", {"VQ": 1.0}),
        ("p1", 1, "second", {"VQ": 3.5}),
        ("p1", 2, "third", {"VQ": 2.7}),
        ("p1", 3, "first", {"VQ": 4.0}),
        ("p1", 4, "fifth", {"VQ": 0.5}),
    )
    result = triples(table, authors())
    TRIPLES.validate(result.table)
    # first - third is 1.3, not more than 1.4; sorted by the candidates' numbers: second is 1, first is 3.
    assert texts(result) == [
        ["p1", "second", "fourth"],
        ["p1", "second", "fifth"],
        ["p1", "first", "fourth"],
        ["p1", "first", "fifth"],
    ]
    assert result.table["chosen_total"].tolist() == pytest.approx([FINE_TOTAL + gain for gain in (0.5, 0.5, 1, 1)])
    assert result.table["rejected_total"].tolist() == pytest.approx([FINE_TOTAL - loss for loss in (2, 2.5, 2, 2.5)])


def test_the_second_may_be_rejected_for_the_first() -> None:
    table = scores(("p1", 0, "first", {"VQ": 5.0}), ("p1", 1, "second", {"VQ": 3.0}))
    assert texts(triples(table, authors())) == [["p1", "first", "second"]]


def test_authors_gap_must_be_exceeded() -> None:
    table = scores(("p1", 0, "best", {"VQ": 5}), ("p1", 1, "two below", {"VQ": 3}), ("p1", 2, "more", {"VQ": 2.5}))
    config = authors(
        weights=dict.fromkeys(METRICS, 1.0), min_gap=2.0, ranks=1
    )  # weights of 1 make the differences exact
    assert texts(triples(table, config)) == [["p1", "best", "more"]]


def test_third_rank_is_never_chosen() -> None:
    table = scores(
        *(
            ("p1", number, text, {"VQ": value})
            for number, text, value in ((0, "a", 6), (1, "b", 5.9), (2, "c", 5.8), (3, "d", 1))
        )
    )
    assert {row[1] for row in texts(triples(table, authors()))} == {"a", "b"}
    assert {row[1] for row in texts(triples(table, authors(ranks=3)))} == {"a", "b", "c"}
    assert {row[1] for row in texts(triples(table, authors(ranks=1)))} == {"a"}


@pytest.mark.parametrize(("dimension", "threshold"), AuthorsConfig().thresholds.items())
def test_every_threshold_is_on_the_raw_scale_and_must_be_exceeded(dimension: str, threshold: float) -> None:
    other = "TC" if dimension == "VQ" else "VQ"
    bad = {name: value - 3 for name, value in FINE.items()} | {other: 0.0}
    at = scores(("p1", 0, "chosen", {dimension: threshold, other: 5}), ("p1", 1, "rejected", bad))
    with pytest.raises(InputError, match=rf"{dimension} > {threshold:g} rejects 2 of 2 candidates of rank 1 to 2"):
        triples(at, authors())
    over = scores(("p1", 0, "chosen", {dimension: threshold + 0.01, other: 5}), ("p1", 1, "rejected", bad))
    assert texts(triples(over, authors())) == [["p1", "chosen", "rejected"]]


def test_chosen_text_is_not_too_long_but_the_rejected_may_be() -> None:
    long, limit = " ".join(["word"] * 131), " ".join(["word"] * 130)
    table = scores(("p1", 0, long, {"VQ": 5}), ("p1", 1, "short", {}), ("p2", 0, limit, {"VQ": 5}), ("p2", 1, long, {}))
    result = triples(table, authors())
    assert texts(result) == [["p2", limit, long]]
    assert "at most 130 words (authors.max_words) rejects 2 of 4 candidates" in result.report


def test_no_triple_by_the_authors_rule_counts_the_reasons() -> None:
    table = scores(
        ("p1", 0, "a", {"VQ": 2.0}), ("p1", 1, "b", {"VQ": 1.9}), ("p2", 0, "c", {"AES": 5.0}), ("p2", 1, "d", {})
    )
    with pytest.raises(InputError) as error:
        triples(table, authors())
    for line in (
        "authors gives no triple",
        "VQ > 2.6 rejects 2 of 4 candidates",
        "AES > 5.5 rejects 1 of 4",
        "TC > 2.6 rejects 0 of 4",
        "(authors.min_gap) leaves 1 of 1 chosen texts",
    ):
        assert line in str(error.value)


def test_rank_ties_go_to_the_lower_candidate() -> None:
    table = scores(
        ("p1", 2, "late", {"VQ": 5}),
        ("p1", 1, "early", {"TC": 5}),
        ("p1", 0, "first", {"FC": 5}),
        ("p1", 3, "bad", {"VQ": 0}),
    )
    assert texts(triples(table, authors())) == [["p1", "first", "bad"], ["p1", "early", "bad"]]


# --- both ---


def many(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    items = []
    for prompt in range(20):
        for number in range(5):
            changed = {name: value + rng.normal(0.5, 1) for name, value in FINE.items()}
            items.append((f"p{prompt:02d}", number, f"text {rng.integers(4)}", changed))
    table = scores(*items)
    return pd.concat([table, table.assign(replicate=1, VQ=table["VQ"] + 0.1, VQ_5=table["VQ_5"] + 0.1)])


@pytest.mark.parametrize("config", [best_worst(), authors(thresholds={**dict.fromkeys(METRICS), "VQ": 2.0})])
def test_triples_do_not_depend_on_the_order_of_rows(config: PreferenceConfig) -> None:
    table = many(1)
    result = triples(table, config)
    TRIPLES.validate(result.table)
    assert len(result.table) > 10
    assert (result.table["chosen"] != result.table["rejected"]).all()
    assert (result.table["chosen_total"] > result.table["rejected_total"]).all()
    assert result.table["prompt_id"].is_monotonic_increasing
    for seed in range(3):
        again = triples(table.sample(frac=1, random_state=seed), config)
        pd.testing.assert_frame_equal(again.table, result.table, check_exact=True)
        assert again.report == result.report


def test_broken_scores_are_errors() -> None:
    table = scores(("p1", 0, "a", {}), ("p1", 1, "b", {"VQ": 1}))
    with pytest.raises(ScoreError, match=r"MPS_5 of prompt_id p1, candidate 1 is inf"):
        triples(table.assign(MPS_5=[1.0, np.inf]), best_worst())
