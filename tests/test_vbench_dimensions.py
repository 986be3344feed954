"""VBench's constants, its totals, and the command that reckons them."""

import io
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from promptavideo.vbench.dimensions import DIMENSIONS, TOTALS, totals, weight

ROOT = Path(__file__).parent.parent
PAPER = ROOT / "resources" / "paper" / "table8_vbench.csv"
PRINTED = pd.read_csv(PAPER)
LOW = {name: one.low for name, one in DIMENSIONS.items()}
HIGH = {name: one.high for name, one in DIMENSIONS.items()}


def command(table: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "vbench_totals.py"), str(table)],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip


def printed(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """What the command prints of a table."""
    table.to_csv(path, index=False)
    answer = command(path)
    assert answer.returncode == 0, answer.stderr
    return pd.read_csv(io.StringIO(answer.stdout))


def test_the_dimensions_stand_in_the_papers_order() -> None:
    assert list(PRINTED.columns) == ["generator", "refiner", *TOTALS, *DIMENSIONS]


def test_the_prompts_of_all_dimensions_are_those_of_the_list() -> None:
    judged_together = [
        {"subject_consistency", "dynamic_degree", "motion_smoothness"},
        {"overall_consistency", "aesthetic_quality", "imaging_quality"},
        {"scene", "background_consistency"},
    ]
    counts = {name: one.prompts for name, one in DIMENSIONS.items()}
    for names in judged_together:
        (count,) = {counts.pop(name) for name in names}
        counts[min(names)] = count
    assert sum(counts.values()) == 946


def test_other_prompts_are_judged_for_what_needs_no_description() -> None:
    # Those that VBench refuses for `custom_input`, and the one that reads its label from the file's name.
    described = {"object_class", "multiple_objects", "scene", "appearance_style", "color", "spatial_relationship"}
    assert {name for name, one in DIMENSIONS.items() if one.described} == described | {"human_action"}


@pytest.mark.parametrize(
    ("dimension", "expected"),
    [("subject_consistency", 48), ("background_consistency", 48), ("appearance_style", 49), ("imaging_quality", 1)],
)
def test_a_video_counts_by_what_vbench_averages_over(dimension: str, expected: int) -> None:
    assert weight(dimension, frames=49) == expected


@pytest.mark.parametrize("row", PRINTED.to_dict("records"), ids=lambda row: f"{row['generator']} {row['refiner']}")
def test_the_papers_totals_follow_from_its_dimensions(row: dict[str, float]) -> None:
    ours = totals({name: row[name] / 100 for name in DIMENSIONS})
    assert {name: 100 * value for name, value in ours.items()} == {
        name: pytest.approx(row[name], abs=0.01) for name in TOTALS
    }


def test_totals_run_from_nought_to_one_and_weigh_groups_four_to_one() -> None:
    assert totals(LOW) == dict.fromkeys(TOTALS, 0.0)
    assert totals(HIGH) == {name: pytest.approx(1) for name in TOTALS}
    quality_only = {name: HIGH[name] if one.group == "quality" else one.low for name, one in DIMENSIONS.items()}
    assert totals(quality_only) == {"total": pytest.approx(0.8), "quality": pytest.approx(1), "semantic": 0.0}
    moving = totals(LOW | {"dynamic_degree": 1.0})
    assert moving["quality"] == pytest.approx(0.5 / 6.5)


@pytest.mark.parametrize("how", ["absent", "NaN"])
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_a_missing_dimension_takes_its_group_and_the_total_away(dimension: str, how: str) -> None:
    values = dict.fromkeys(DIMENSIONS, 0.5) | {dimension: math.nan}
    if how == "absent":
        del values[dimension]
    empty = {name for name, value in totals(values).items() if math.isnan(value)}
    assert empty == {"total", DIMENSIONS[dimension].group}


def test_totals_of_arrays_are_those_of_each_element() -> None:
    rng = np.random.default_rng(0)
    values = {name: rng.uniform(size=(2, 3)) for name in DIMENSIONS}
    together = totals(values)
    for place in np.ndindex(2, 3):
        assert {name: array[place] for name, array in together.items()} == pytest.approx(
            totals({name: array[place] for name, array in values.items()})
        )


def test_the_command_gives_the_papers_rows_their_totals(tmp_path: Path) -> None:
    wrong = PRINTED.assign(**dict.fromkeys(TOTALS, 1.0))  # what stands there is not believed
    for table in (PRINTED, wrong):
        made = printed(table, tmp_path / "table.csv")
        assert list(made.columns) == list(PRINTED.columns)
        assert made[["generator", "refiner"]].equals(PRINTED[["generator", "refiner"]])
        assert len(made) == 8
        np.testing.assert_allclose(made[list(DIMENSIONS)], PRINTED[list(DIMENSIONS)])
        np.testing.assert_allclose(made[list(TOTALS)], PRINTED[list(TOTALS)], rtol=0, atol=0.01 + 1e-9)


@pytest.mark.parametrize(("dimension", "kept"), [("imaging_quality", "semantic"), ("scene", "quality")])
def test_the_command_leaves_totals_that_lack_a_dimension_empty(tmp_path: Path, dimension: str, kept: str) -> None:
    lost = [name for name in TOTALS if name != kept]
    gap = PRINTED.copy()
    gap.loc[3, dimension] = np.nan
    made = printed(gap, tmp_path / "gap.csv")
    assert made[lost].isna().any(axis=1).tolist() == [row == 3 for row in range(8)]
    assert made.loc[3, lost].isna().all()
    np.testing.assert_allclose(made[kept], PRINTED[kept], rtol=0, atol=0.01 + 1e-9)


def test_the_command_takes_a_table_without_a_dimension(tmp_path: Path) -> None:
    made = printed(PRINTED.drop(columns=[*TOTALS, "scene"]), tmp_path / "table.csv")
    assert list(made.columns) == [name for name in PRINTED.columns if name != "scene"]
    assert made[["total", "semantic"]].isna().all(axis=None)
    np.testing.assert_allclose(made["quality"], PRINTED["quality"], rtol=0, atol=0.01 + 1e-9)


def test_the_command_keeps_every_other_cell_as_it_was(tmp_path: Path) -> None:
    content = 'note,color,seconds,scene\n"a, ""b""",90.10,0.004,\nNA,81.23456,1e3,40\n'
    (tmp_path / "table.csv").write_text(content)
    total = content.replace("note,", "note,total,quality,semantic,").replace('""",', '""",,,,').replace("NA,", "NA,,,,")
    assert command(tmp_path / "table.csv").stdout == total


@pytest.mark.parametrize(
    ("row", "column", "value", "told"),
    [
        (3, "color", 101, ", line 5: color is 101; percent are 0 to 100"),
        (0, "subject_consistency", -0.5, ", line 2: subject_consistency is -0.5; percent are 0 to 100"),
        (7, "scene", math.inf, ", line 9: scene is inf; percent are 0 to 100"),
        (2, "scene", "many", ", line 4: scene is 'many', which is no number"),
    ],
)
def test_the_command_names_what_is_no_percentage(
    tmp_path: Path, row: int, column: str, value: float | str, told: str
) -> None:
    table = PRINTED.astype({column: object})
    table.loc[row, column] = value
    table.to_csv(tmp_path / "table.csv", index=False)
    answer = command(tmp_path / "table.csv")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert f"InputError: {tmp_path / 'table.csv'}{told}" in answer.stderr


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read as CSV"),
        ("", "cannot be read as CSV"),
        ("generator,beauty\nx,50\n", "holds no column of subject_consistency, background_consistency, "),
    ],
)
def test_the_command_names_a_file_that_is_no_such_table(tmp_path: Path, content: str | None, told: str) -> None:
    if content is not None:
        (tmp_path / "table.csv").write_text(content)
    answer = command(tmp_path / "table.csv")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert f"InputError: {tmp_path / 'table.csv'}: {told}" in answer.stderr
