"""What was found, in sentences."""

import re

import pandas as pd
from makers import FAST, flat_scores

from promptavideo.findings import findings, warnings
from promptavideo.gains import Pair, gains_table, notes
from promptavideo.provenance import OTHERS_NOTE
from promptavideo.tables import Arm

LEVELS = {
    "original": [2.0, 2.2, 2.1, 2.1],
    "llm": [2.2, 2.3, 2.5, 2.2],
    "sft": [2.5, 2.6, 2.9, 2.5],
    "dpo-2": [3.0, 2.9, 3.1, 3.2],
}


def table(generator: str = "mini-t2v", others: tuple[str, ...] = ("original", "llm")) -> pd.DataFrame:
    arms = {name: Arm(generator, "heldout", name, flat_scores(values)) for name, values in LEVELS.items()}
    return gains_table([Pair(arms[one], arms[other]) for one in ("sft", "dpo-2") for other in others], FAST)


def test_the_last_booster_is_in_the_sentence_and_those_before_it_below() -> None:
    made = table()
    (found,) = findings(made, {("mini-t2v", "heldout"): 1}, {"mini-t2v": "llm"})
    halves = ((made["diff_ci_high"] - made["diff_ci_low"]) / 2).map("{:.2f}".format).tolist()
    assert found.headline == (
        "On 4 prompts of heldout, mini-t2v films dpo-2's texts with avg 3.05 against 2.10 of the original prompts: "
        f"+0.95 ± {halves[2]} (over llm: +0.75 ± {halves[3]})."
    )
    assert found.others == [
        f"sft: {made['diff'][0]:+.2f} ± {halves[0]} (over llm: {made['diff'][1]:+.2f} ± {halves[1]})"
    ]


def test_every_number_is_a_cell_of_the_table() -> None:
    made = table()
    (found,) = findings(made, {("mini-t2v", "heldout"): 2}, {"mini-t2v": "llm"})
    assert found.headline.startswith("On 2 prompts"), "two videos each"
    known = {f"{value:.2f}" for value in made.select_dtypes("number").to_numpy(float).ravel()}
    known |= {f"{half:.2f}" for half in (made["diff_ci_high"] - made["diff_ci_low"]) / 2}
    for text in (found.headline, *found.others):
        assert set(re.findall(r"\d\.\d\d", text)) <= known


def test_without_a_rewrite_or_an_interval_neither_is_said() -> None:
    alone = table(others=("original",))
    (found,) = findings(alone, {("mini-t2v", "heldout"): 1}, {"mini-t2v": None})
    assert "over" not in found.headline and "±" in found.headline
    empty = alone.assign(diff_ci_low=float("nan"), diff_ci_high=float("nan"))
    (found,) = findings(empty, {("mini-t2v", "heldout"): 1}, {})
    assert found.headline.endswith("of the original prompts: +0.95.") and "nan" not in "".join(found.others)


def test_each_generator_and_set_has_its_own() -> None:
    both = pd.concat([table(), table("other", ("original",))], ignore_index=True)
    replicates = {("mini-t2v", "heldout"): 1, ("other", "heldout"): 4}
    one, other = findings(both, replicates, {"mini-t2v": "llm", "other": "llm"})
    assert "mini-t2v films" in one.headline and "On 1 prompt of heldout, other films" in other.headline


def test_what_makes_numbers_mislead_is_kept_of_the_notes() -> None:
    stand_ins = OTHERS_NOTE.format("something")
    assert warnings(notes("laptop", ["a remark", stand_ins])) == [stand_ins, notes("laptop", [])[-1]]
    assert warnings(notes("paper", ["a remark"])) == []
