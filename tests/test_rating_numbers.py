"""What votes say, by numbers that are known: computed by hand, or printed in books."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from makers import FAST, PAPER

from promptavideo import tables
from promptavideo.rating import numbers
from promptavideo.rating.collect import Record, collect
from promptavideo.rating.config import UserStudyConfig
from promptavideo.rating.plan import Plan
from promptavideo.rating.table import COLUMNS, SHOWN, notes, user_study_table, with_paper_rows
from studies import choosing, hand_over, make_plan, simulated_file

GIVEN = UserStudyConfig()


def ballots(rows: Sequence[tuple[str, str, str, str]]) -> pd.DataFrame:
    """(rater, refiner, against, outcome) as votes on an item each."""
    table = pd.DataFrame(rows, columns=["rater", "refiner", "against", "outcome"])
    return table.assign(item=[f"i{place}" for place in range(len(rows))], kind="item", question="overall")


def of_files(folder: Path, plan: Plan, *said: dict) -> tuple[pd.DataFrame, Record]:
    paths = [hand_over(folder, f"file-{place}", one) for place, one in enumerate(said)]
    return collect(plan, paths)


def test_wilsons_interval_is_the_known_one() -> None:
    # Newcombe (1998), Statistics in Medicine 17:857-872, table I: 81 of 263, and 15 of 148, by method 3.
    assert numbers.wilson_interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert numbers.wilson_interval(15 / 148, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert numbers.wilson_interval(0.0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert all(map(math.isnan, numbers.wilson_interval(float("nan"), 0)))


def test_the_sign_test_is_exact() -> None:
    assert numbers.sign_test(9, 1) == pytest.approx(2 * (10 + 1) / 2**10)
    assert numbers.sign_test(5, 5) == 1.0 and math.isnan(numbers.sign_test(0, 0))


def test_strengths_of_two_are_their_shares_and_a_tie_is_half_a_win() -> None:
    votes = ballots([("r", "a", "b", "win")] * 6 + [("r", "a", "b", "loss")] * 2 + [("r", "a", "b", "tie-good")] * 2)
    assert numbers.strengths(votes) == pytest.approx({"a": 0.7, "b": 0.3}, abs=1e-6)


def test_strengths_of_three_are_those_that_maximise_the_likelihood() -> None:
    counts = {("a", "b"): (7, 3), ("a", "c"): (8, 2), ("b", "c"): (6, 4)}
    rows = [
        ("r", one, other, outcome)
        for (one, other), (wins, losses) in counts.items()
        for outcome in ["win"] * wins + ["loss"] * losses
    ]
    found = numbers.strengths(ballots(rows))
    wins = {"a": 15, "b": 9, "c": 6}
    for name, won in wins.items():  # the equations of Bradley and Terry (1952)
        expected = sum(10 * found[name] / (found[name] + found[other]) for other in found if other != name)
        assert expected == pytest.approx(won, abs=1e-3)
    assert sum(found.values()) == pytest.approx(1)


def test_without_a_loss_there_is_no_finite_strength() -> None:
    assert numbers.strengths(ballots([("r", "a", "b", "win")] * 3)) == {}
    assert numbers.strengths(ballots([])) == {}
    apart = [("r", one, other, outcome) for one, other in (("a", "b"), ("c", "d")) for outcome in ("win", "loss")]
    assert numbers.strengths(ballots(apart)) == {}, "nothing compares the two halves"


def test_alpha_is_krippendorffs() -> None:
    # By hand: 4 items by 2 raters; they agree on win, win, loss, and not on the last: o = 2/8,
    # e = 1 - (5*4 + 3*2)/(8*7) = 30/56, alpha = 1 - (2/8)/(30/56).
    rows = [("x", "win"), ("y", "win")] * 2 + [("x", "loss"), ("y", "loss"), ("x", "win"), ("y", "loss")]
    table = pd.DataFrame(rows, columns=["rater", "outcome"]).assign(item=[f"i{place // 2}" for place in range(8)])
    assert numbers.agreement(table) == pytest.approx(1 - (2 / 8) / (30 / 56))
    alone = table.assign(item=[f"i{place}" for place in range(8)])
    assert math.isnan(numbers.agreement(alone)), "nobody judged what another one did"
    assert math.isnan(numbers.agreement(table[table["outcome"] == "win"]))


def test_the_interval_is_that_of_raters_and_prompts_together() -> None:
    rng = np.random.default_rng(0)
    raters = [f"r{number:02}" for number in range(20) for _ in range(30)]
    prompts = [f"p{number:02}" for _ in range(20) for number in range(30)]
    by_rater = dict(zip(sorted(set(raters)), rng.normal(0, 0.3, 20), strict=True))
    by_prompt = dict(zip(sorted(set(prompts)), rng.normal(0, 0.2, 30), strict=True))
    values = np.array([by_rater[rater] + by_prompt[prompt] for rater, prompt in zip(raters, prompts, strict=True)])
    low, high = numbers.crossed_interval(values, raters, prompts, FAST.model_copy(update={"resamples": 4999}), "x")
    # Without noise of single votes the variance of the mean is that of both means together.
    spread = 1.96 * math.sqrt(np.var(list(by_rater.values())) / 20 + np.var(list(by_prompt.values())) / 30)
    assert (low, high) == pytest.approx((values.mean() - spread, values.mean() + spread), abs=0.02)
    shuffled = rng.permutation(len(values))
    again = numbers.crossed_interval(
        values[shuffled], [raters[place] for place in shuffled], [prompts[place] for place in shuffled],
        FAST.model_copy(update={"resamples": 4999}), "x",
    )  # fmt: skip
    assert again == (low, high)
    alone = numbers.crossed_interval(values[:30], raters[:30], prompts[:30], FAST, "x")
    assert all(map(math.isnan, alone)), "one rater says nothing of raters"


def test_who_fails_the_checks_is_left_out_and_said(tmp_path: Path) -> None:
    plan = make_plan(checks=3)

    def with_checks(slot: int, rater: str, passed: int) -> dict:
        places = range(1, len(plan.slots[slot - 1]) + 1)
        answers = {place: choosing(plan, slot, place) for place in places}
        checks = [place for place in places if plan.named[plan.slots[slot - 1][place - 1].item].check]
        answers |= {place: choosing(plan, slot, place, first=False) for place in checks[passed:]}
        return simulated_file(plan, slot, rater, answers)

    early = {1: choosing(plan, 4, 1)} if not plan.named[plan.slots[3][0].item].check else {2: choosing(plan, 4, 2)}
    votes, _ = of_files(
        tmp_path, plan, with_checks(1, "all", 3), with_checks(2, "two", 2), with_checks(3, "one", 1),
        simulated_file(plan, 4, "left-early", early),
    )  # fmt: skip
    who = numbers.raters(votes, plan, GIVEN)
    assert who.counted == {"all", "two"} and who.left_out == {"one", "left-early"}
    assert (who.passed, who.checks) == (6, 9)
    table, _ = user_study_table(plan, votes, GIVEN, FAST)
    assert table["raters_left_out"].tolist() == [2, 2] and table["raters"].tolist() == [2, 2]
    assert table["votes"].sum() == 2 * 4 and table["votes_left_out"].sum() == 4 + 1
    assert table["checks_passed"].tolist() == pytest.approx([6 / 9] * 2)
    assert numbers.raters(votes, plan, GIVEN.model_copy(update={"least_checks": 0.0})).left_out == frozenset()


def test_repeats_are_compared_and_no_votes(tmp_path: Path) -> None:
    plan = make_plan(each=6, repeats=3, checks=0)
    steady = simulated_file(plan, 1, "steady")
    always_left = simulated_file(plan, 2, "always-left", dict.fromkeys(range(1, len(plan.slots[1]) + 1), "left"))
    votes, record = of_files(tmp_path, plan, steady, always_left)
    alike = numbers.repeats_alike(votes).groupby("rater")["alike"].mean()
    assert alike.to_dict() == {"steady": 1.0, "always-left": 0.0}
    table, _ = user_study_table(plan, votes, GIVEN, FAST)
    assert table["votes"].sum() == 12 and table["repeats"].sum() == 6
    given = GIVEN.model_copy(update={"least_agreement": 0.5})
    assert numbers.raters(votes, plan, given).counted == {"steady"}
    for section, told in ((given, "or answered fewer than 0.5 of the repeats alike, and"), (GIVEN, "")):
        table, who = user_study_table(plan, votes, section, FAST)
        said = " ".join(notes(table, who, section, record, "paper"))
        assert ("1 raters passed fewer than 0.6 of the checks" in said) == bool(told) and told in said


def test_a_table_by_hand(tmp_path: Path) -> None:
    plan = make_plan(pairs=(("dpo-2", "original"),), each=3, repeats=0, checks=0, raters=2, spares=0)

    def answers(slot: int, *outcomes: str) -> dict:
        by_item = dict(zip(sorted(item.name for item in plan.items), outcomes, strict=True))
        given = {}
        for place, at in enumerate(plan.slots[slot - 1], 1):
            wanted = by_item[at.item]
            given[place] = choosing(plan, slot, place, wanted == "win") if wanted in ("win", "loss") else wanted
        return simulated_file(plan, slot, f"rater-{slot}", given)

    votes, record = of_files(
        tmp_path, plan, answers(1, "win", "win", "both-good"), answers(2, "win", "loss", "both-poor")
    )
    table, who = user_study_table(plan, votes, GIVEN, FAST)
    (row,) = table.to_dict("records")
    assert (row["planned"], row["votes"], row["raters"]) == (6, 6, 2)
    assert (row["wins"], row["ties_good"], row["ties_poor"], row["losses"]) == (3, 1, 1, 1)
    assert row["win_rate"] == pytest.approx(4 / 6) and row["p_value"] == pytest.approx(10 / 16)
    assert row["strength"] == pytest.approx(4 / 6, abs=1e-5) and row["strength_against"] == pytest.approx(
        2 / 6, abs=1e-5
    )
    assert row["win_rate_ci_low"] < row["win_rate"] < row["win_rate_ci_high"]
    # Pairs of codes by item: win-win, win-loss, tie-tie. o = 2/6; e = 1 - (3*2 + 2*1 + 1*0)/(6*5).
    assert row["alpha"] == pytest.approx(1 - (2 / 6) / (1 - 8 / 30))
    said = notes(with_paper_rows(table, PAPER / "user_study.csv"), who, GIVEN, record, "laptop")
    assert any("6 of 6 planned votes" in note for note in said) and not any("not finished" in note for note in said)


def test_without_votes_the_table_says_how_many_are_needed(tmp_path: Path) -> None:
    plan = make_plan()
    votes, record = collect(plan, [])
    table, who = user_study_table(plan, votes, GIVEN, FAST)
    whole = with_paper_rows(table, PAPER / "user_study.csv")
    assert list(whole.columns) == list(COLUMNS) and whole["votes"].tolist()[:2] == [0, 0]
    empty = ["win_rate", "win_rate_ci_low", "wilson_low", "p_value", "strength", "alpha", "repeats_alike"]
    assert table[empty].isna().all(axis=None)
    said = " ".join(notes(whole, who, GIVEN, record, "laptop"))
    assert "0 of 12 planned votes are there. 783, 194, 85 show a true rate of 55%, 60%, 65%" in said
    assert "not finished" in said and "laptop-scale" in said
    tables.write(whole, tmp_path / "user_study", "Refiners compared by people", [said], SHOWN)
    _, shown, _ = tables.read(tmp_path / "user_study")
    assert list(shown.columns) == SHOWN and len(shown) == 5
    assert tables.as_text(shown)["votes"].tolist() == ["0", "0", "", "", ""]


def test_the_papers_rates_stand_below_and_are_marked(tmp_path: Path) -> None:
    table, _ = user_study_table(make_plan(), collect(make_plan(), [])[0], GIVEN, FAST)
    paper = with_paper_rows(table, PAPER / "user_study.csv").tail(3)
    assert paper["set"].unique().tolist() == ["paper"] and paper["approximate"].unique().tolist() == ["yes"]
    assert paper["win_rate"].tolist() == [0.65, 0.55, 0.60] and paper["against"].tolist() == [
        "original",
        "gpt-4o",
        "original",
    ]
    assert paper["votes"].isna().all()
