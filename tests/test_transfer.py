"""What boosters gain on other generators, by numbers that can be computed by hand."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from makers import FAST, METRICS, RAW, ROOT

from promptavideo.comparisons import comparisons, shown
from promptavideo.config import check
from promptavideo.errors import InputError
from promptavideo.figures import transfer
from promptavideo.settings import lay
from promptavideo.study import Study
from promptavideo.tables import Arm, read, write
from promptavideo.transfer import Cell, all_columns, notes, transfer_table

OVERLAY = yaml.safe_load((ROOT / "studies/transfer.yaml").read_text(encoding="utf-8"))
OWN, OTHER, UNIVERSAL = "a/dpo", "b/dpo", "universal"


def arm(generator: str, refiner: str, averages: list[float], set_: str = "heldout") -> Arm:
    """One video a prompt; every metric as `averages` says."""
    scores = pd.DataFrame({"prompt_id": [f"p{place}" for place in range(len(averages))], "refined": "a dog"})
    scores = scores.assign(candidate=0, replicate=0, **{f"{name}_5": averages for name in METRICS})
    return Arm(generator, set_, refiner, scores)


ORIGINALS = [arm("a", "original", [1.0, 2.0, 3.0]), arm("b", "original", [2.0, 2.0, 2.0])]
CELLS = [
    Cell("a/sft", ("a",), 1, arm("a", "sft", [1.0, 2.0, 3.5])),
    Cell(OWN, ("a",), 2, arm("a", "own", [2.0, 3.0, 5.0])),
    Cell(UNIVERSAL, ("a", "b"), 2, arm("a", "both", [2.0, 2.0, 3.5])),
    Cell(OWN, ("a",), 2, arm("b", "foreign", [2.0, 1.0, 3.0])),
    Cell(UNIVERSAL, ("a", "b"), 2, arm("b", "both", [3.0, 3.0, 3.0])),
    Cell(OTHER, ("b",), 2, arm("b", "own", [4.0, 4.0, 3.0])),
]


def test_each_booster_has_a_row_with_its_gain_on_each_generator() -> None:
    table = transfer_table(ORIGINALS, CELLS, FAST).set_index("booster")
    assert list(table.index) == ["a/sft", OWN, UNIVERSAL, OTHER]
    assert table["a_gain"].tolist()[:3] == pytest.approx([0.5 / 3, 4 / 3, 0.5])
    assert table["b_gain"].tolist()[1:] == pytest.approx([0.0, 1.0, 5 / 3])
    assert table.loc[OTHER, [name for name in table if name.startswith("a_")]].isna().all()
    assert table["videos"].tolist() == [3, 6, 6, 3]
    assert table["learned_from"].tolist() == ["a", "a", "a, b", "b"]
    cell = table.loc[UNIVERSAL]
    assert cell["a_gain_ci_low"] <= cell["a_gain"] <= cell["a_gain_ci_high"] and 0 < cell["a_p_value"] <= 1


def test_each_cell_is_compared_with_the_last_booster_of_its_generator_alone() -> None:
    table = transfer_table(ORIGINALS, CELLS, FAST).set_index("booster")
    assert table.loc[UNIVERSAL, "a_to_own"] == pytest.approx(0.5 - 4 / 3)
    assert table.loc[UNIVERSAL, "b_to_own"] == pytest.approx(1.0 - 5 / 3)
    assert table.loc[OWN, "b_to_own"] == pytest.approx(-5 / 3)
    assert table.loc["a/sft", "a_to_own"] == pytest.approx(0.5 / 3 - 4 / 3)
    assert pd.isna(table.loc[OWN, "a_to_own"]), "that is the generator's own"
    without = transfer_table(ORIGINALS, [one for one in CELLS if one.booster == UNIVERSAL], FAST)
    assert without[["a_to_own", "b_to_own"]].isna().all(axis=None)


def test_a_cell_does_not_depend_on_the_others() -> None:
    whole = transfer_table(ORIGINALS, CELLS, FAST).set_index("booster")
    reverse = transfer_table(ORIGINALS, CELLS[::-1], FAST).set_index("booster")
    pd.testing.assert_frame_equal(whole, reverse.loc[whole.index])


def test_other_prompts_are_refused_and_no_cells_make_an_empty_table() -> None:
    fewer = Cell(OWN, ("a",), 2, arm("a", "own", [2.0, 3.0]))
    with pytest.raises(InputError, match="a/heldout/own lacks 1 videos"):
        transfer_table(ORIGINALS, [fewer], FAST)
    assert list(transfer_table([], [], FAST).columns) == all_columns([])


def test_the_files_and_the_figure_show_every_set_and_texts_as_they_are(tmp_path: Path) -> None:
    more = [arm("a", "original", [1.0, 1.0], "$x^2$ <b>"), arm("a", "own", [1.0, 2.0], "$x^2$ <b>")]
    table = transfer_table([*ORIGINALS, more[0]], [*CELLS, Cell("\\frac", ("a",), 1, more[1])], FAST)
    stem = tmp_path / "transfer"
    write(table, stem, "Transfer", notes("laptop", []))
    _, again, said = read(stem)
    pd.testing.assert_frame_equal(again, table, check_dtype=False)
    assert "laptop-scale" in said[-1] and "no numbers of this form" in said[-2]
    assert not any("laptop-scale" in line for line in notes("paper", []))
    for name in ("one", "two"):
        transfer(again, tmp_path / f"{name}.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    transfer(transfer_table(ORIGINALS, CELLS, FAST), tmp_path / "fewer.png")
    width = [int.from_bytes((tmp_path / f"{name}.png").read_bytes()[16:20], "big") for name in ("fewer", "one")]
    assert width[1] == 2 * width[0]


# --- which rows ---


def study(*overlays: dict[str, Any]) -> Study:
    raw, _ = lay({"config.yaml": RAW, **{str(place): one for place, one in enumerate(overlays)}})
    return Study(check(raw, ROOT), ROOT)


def test_the_overlay_compares_the_last_boosters_and_the_universal_ones() -> None:
    found = study(OVERLAY)
    table = comparisons(found)["transfer"]
    assert "transfer" in shown(found) and "transfer" not in shown(study({**OVERLAY, "evaluation": {
        **OVERLAY["evaluation"], "studies": []}}))  # fmt: skip
    rows = {track: [row.source.refiner for row in table.rows("tables") if row.track == track] for track in found.tracks}
    universal = ["universal-sft", "universal-dpo-1", "universal-dpo-2"]
    assert rows == {
        "mini-t2v": ["original", "dpo-2", "crew-dpo-2", *universal],
        "mini-t2v-crew": ["original", "dpo-2", "plain-dpo-2", *universal],
    }
    assert table.rows("mini-t2v/tables") == [], "one generator shows no transfer"
    files = table.files("tables")
    assert "results/shared/boosters/universal-dpo-2/booster.json" in files
    assert "results/mini-t2v-crew/boosters/sft/booster.json" in files


def test_without_a_booster_that_two_generators_film_there_is_no_such_table() -> None:
    assert "transfer" not in comparisons(study())
    other = {"generators": {"other": {"like": "mini-t2v", "sampling": {"num_inference_steps": 3}}}}
    assert "transfer" not in comparisons(study(other)), "each has its own chain"
    negated = {
        "models": OVERLAY["models"],
        **yaml.safe_load((ROOT / "studies/negative_prompts.yaml").read_text(encoding="utf-8")),
    }
    rows = comparisons(study(negated))["transfer"].rows("tables")
    assert {row.source.refiner for row in rows} == {"original", "dpo-2", "boosted"}, "negative prompts are no texts"
