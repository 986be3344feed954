"""Tables as a page shows them: fewer columns, and no other numbers."""

import re

import numpy as np
import pandas as pd
from makers import FAST, PAPER, flat_scores

from promptavideo.compact import Display, compact
from promptavideo.metrics import Metric
from promptavideo.tables import PAPER_COLUMNS, Arm, Columns, videoscore_table, with_paper_rows

HELD = Metric("AGREE", 0.0, 1.0)


def scores(averages: list[float], agree: list[float]) -> pd.DataFrame:
    return flat_scores(averages).assign(AGREE=agree)


def table() -> pd.DataFrame:
    """Two rows of ours with intervals, and the paper's."""
    columns = Columns(PAPER_COLUMNS.objective, PAPER_COLUMNS.average, [HELD])
    arms = [
        Arm("mini", "test", "original", scores([2.0, 2.5, 3.0, 3.6], [0.9, 0.8, 0.7, 0.6])),
        Arm("mini", "test", "dpo-2", scores([2.3, 2.7, 3.5, 3.5], [0.8, 0.8, 0.6, 0.6])),
    ]
    return with_paper_rows(videoscore_table(arms, FAST, columns), PAPER)


def names(display: Display) -> list[str]:
    return [column.name for column in display.columns]


def test_what_tells_no_rows_apart_is_said_once_and_the_papers_rows_stand_apart() -> None:
    ours, printed = compact(table())
    assert names(ours) == [
        *("refiner", "VQ", "TC", "DD", "TVA", "FC", "avg", "gain", "p_value", "AES", "MPS"),
        *("AGREE", "AGREE_gain", "words"),
    ]  # fmt: skip
    assert ours.shared == [("generator", "mini"), ("set", "test"), ("videos", "4")] and ours.empty == []
    assert (ours.printed, printed.printed) == (False, True)
    assert names(printed) == ["generator", "refiner", "VQ", "TC", "DD", "TVA", "FC", "avg"] and printed.shared == []
    assert printed.empty == ["videos", "AES", "MPS", "gain", "p_value", "AGREE", "AGREE_gain", "words"]
    assert len(ours.rows) == 2 and len(printed.rows) == 6


def test_an_interval_is_half_its_width_in_the_cell_of_its_value() -> None:
    made = table()
    ours, printed = compact(made)
    gain = names(ours).index("gain")
    first, second = (row[gain] for row in ours.rows)
    assert (first.value, first.half) == ("", "")
    half = (made.loc[1, "gain_ci_high"] - made.loc[1, "gain_ci_low"]) / 2
    assert (second.value, second.half) == (f"{made.loc[1, 'gain']:.3f}", f"± {half:.3f}")
    assert ours.intervals and not printed.intervals


def test_every_number_is_a_rounded_cell_or_half_an_interval() -> None:
    made = table()
    known = {f"{value:z.3f}" for value in made.select_dtypes("number").to_numpy(float).ravel()}
    known |= {f"{value:z.4f}" for value in made["p_value"]} | {str(value) for value in made["videos"]}
    lows = [name for name in made if str(name).endswith("_ci_low")]
    halves = {
        f"{half:.3f}" for low in lows for half in (made[str(low).replace("_low", "_high")] - made[low]).dropna() / 2
    }
    for display in compact(made):
        for row in display.rows:
            for cell, column in zip(row, display.columns, strict=True):
                assert not column.numeric or not cell.value or cell.value in known
                assert not cell.half or cell.half.removeprefix("± ") in halves
        assert all(value in known for name, value in display.shared if name == "videos")


def test_measurements_that_are_equal_stay_and_a_single_row_keeps_its_names() -> None:
    equal = pd.DataFrame({"refiner": ["a", "b"], "KEEP": [1.0, 1.0], "filmed": [0, 3], "booster": ["x", "x"]})
    (display,) = compact(equal)
    assert names(display) == ["refiner", "KEEP", "filmed"] and display.shared == [("booster", "x")]
    (alone,) = compact(equal.head(1))
    assert names(alone) == ["refiner", "KEEP", "filmed", "booster"] and not alone.shared


def test_columns_move_beside_avg_together_or_not_at_all() -> None:
    apart = pd.DataFrame({"avg": [1.0], "other": [1.0], "diff": [1.0], "p_value": [0.5]})
    assert names(compact(apart)[0]) == ["avg", "other", "diff", "p_value"]
    assert names(compact(apart.assign(gain=1.0))[0]) == ["avg", "gain", "p_value", "other", "diff"]


def test_names_stand_upright_where_a_page_is_too_narrow_for_them() -> None:
    wide = pd.DataFrame({f"a_long_name_of_column_{place}": [98.765, 1.0] for place in range(20)})
    assert compact(wide)[0].dense and not compact(wide.iloc[:, :12])[0].dense
    assert not any(display.dense for display in compact(table()))


def test_a_table_without_marks_or_intervals_is_shown_as_it_is() -> None:
    (display,) = compact(pd.DataFrame({"a_ci_low": [0.5], "p_value": [np.nan], "gain": [0.25]}))
    assert names(display) == ["a_ci_low", "gain"] and display.empty == ["p_value"]
    assert [cell.value for cell in display.rows[0]] == ["0.500", "0.250"]
    assert compact(pd.DataFrame({"set": []})) == []
    assert all(re.fullmatch(r"-?\d\.\d{3}", cell.value) for cell in display.rows[0])
