"""VBench's results put together, and the tables made of them."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from makers import METRICS, TO_FIVE, make_scores

from promptavideo.errors import InputError, ScoreError
from promptavideo.metrics import Metric
from promptavideo.resampling import BootstrapConfig
from promptavideo.schemas import VBENCH_SCORES, read_table, write_table
from promptavideo.tables import LAPTOP_NOTE, Arm, Columns, videoscore_table, write
from promptavideo.vbench import evaluate
from promptavideo.vbench.dimensions import DIMENSIONS, TOTALS, totals
from promptavideo.vbench.listing import Listing, Video
from promptavideo.vbench.scores import join
from promptavideo.vbench.table import (
    COLUMNS,
    CUSTOM_NOTE,
    INTERVALS,
    LEFT_OUT_NOTE,
    METHOD_NOTE,
    NUMBERS,
    PAPER_NOTE,
    Judged,
    ablation_shown,
    ablation_table,
    notes,
    part,
    vbench_table,
    with_paper_rows,
)

PAPER = Path(__file__).parent.parent / "resources" / "paper" / "table8_vbench.csv"
FAST = BootstrapConfig(resamples=199)
WHOLE = tuple(Video(row, f"p{row}", "a dog", 0, "x.mp4", "x", "k", (), None) for row in range(946))
LISTING = Listing("standard", 5, 8.0, 16, 16, WHOLE)
BLOCKS = (
    ("temporal_flickering",),
    ("multiple_objects",),
    ("human_action",),
    ("subject_consistency", "motion_smoothness", "dynamic_degree"),
    ("object_class",),
    ("color",),
    ("appearance_style",),
    ("temporal_style",),
    ("aesthetic_quality", "imaging_quality", "overall_consistency"),
    ("background_consistency", "scene"),
    ("spatial_relationship",),
)
"""What VBench judges together, of one prompt."""

Cell = tuple[str, int, int, float | None, int]
"""Dimension, row, replicate, value, weight."""


def scored(cells: Iterable[Cell]) -> pd.DataFrame:
    rows = [(name, row, f"p{row:03}", replicate, f"{row}-{replicate}", value, weight)
            for name, row, replicate, value, weight in cells]  # fmt: skip
    table = pd.DataFrame(rows, columns=list(VBENCH_SCORES.columns)).astype({"value": float})
    return VBENCH_SCORES.validate(table)


def random_cells(
    seed: int, prompts: int = 5, replicates: int = 2, names: Sequence[str] = tuple(DIMENSIONS)
) -> list[Cell]:
    """`prompts` prompts a block; videos differ in weight, and some have no colour."""
    rng = np.random.default_rng(seed)
    cells = []
    for block, place, replicate in itertools.product(range(len(BLOCKS)), range(prompts), range(replicates)):
        for name in BLOCKS[block]:
            value = float(rng.uniform(0.2, 0.9))
            found = name != "color" or place != 1
            if name in names:
                cells.append((name, block * prompts + place, replicate, value if found else None, 1 + place % 3))
    return cells


def judged(
    cells: Iterable[Cell], refiner: str = "original", generator: str = "mini", listing: Listing = LISTING
) -> Judged:
    return Judged(generator, refiner, scored(cells), listing)


def first(rows: Sequence[Judged], bootstrap: BootstrapConfig = FAST) -> "pd.Series[Any]":
    """The first row of a table."""
    return vbench_table(rows, bootstrap).iloc[0]


# Putting the jobs' results together


def listing_of(*names: str, prompts: int = 3, replicates: int = 2) -> Listing:
    """Prompts that are all judged for some dimensions, but the first one for the first dimension only."""
    videos = [
        Video(
            row, f"p{row}", f"prompt {row}", replicate, f"{row}-{replicate}.mp4", "", f"k{row}{replicate}", judged, None
        )
        for row in range(prompts)
        for judged in [names if row else names[:1]]
        for replicate in range(replicates)
    ]
    return replace(LISTING, videos=tuple(videos))


def results_of(listing: Listing, dimension: str, size: int = 100, value: float | None = 0.5) -> list[evaluate.Result]:
    """What jobs of `size` videos find; a video's value is its place in the list, in hundredths, below `value`."""
    found = [
        evaluate.Judged(
            one.row, one.prompt_id, one.replicate, one.key, None if value is None else value - place / 100, 1
        )
        for place, one in enumerate(listing.of(dimension))
    ]
    parts = [tuple(found[start : start + size]) for start in range(0, len(found), size)]
    return [evaluate.Result(dimension, None, part, {}, "a GPU", 1.0) for part in [*parts, ()]]


def test_results_of_all_jobs_become_one_row_a_video_and_dimension(tmp_path: Path) -> None:
    listing = listing_of("scene", "color")
    results = [*results_of(listing, "color", size=2), *results_of(listing, "scene", size=3)]
    table = join(listing, ["scene", "color"], results[::-1])
    assert table["dimension"].tolist() == ["scene"] * 6 + ["color"] * 4
    assert table["row"].tolist() == [0, 0, 1, 1, 2, 2, 1, 1, 2, 2]
    assert table["replicate"].tolist() == [0, 1] * 5
    assert table["key"].tolist()[:3] == ["k00", "k01", "k10"] and table["prompt_id"].tolist()[-1] == "p2"
    assert table["value"].tolist() == pytest.approx([0.5, 0.49, 0.48, 0.47, 0.46, 0.45, 0.5, 0.49, 0.48, 0.47])
    write_table(table, tmp_path / "scores.parquet", VBENCH_SCORES)
    pd.testing.assert_frame_equal(read_table(tmp_path / "scores.parquet", VBENCH_SCORES), table)


def test_a_video_without_a_value_stays_without(tmp_path: Path) -> None:
    listing = listing_of("color", prompts=2, replicates=1)
    (result, _) = results_of(listing, "color")
    gap = replace(result, judged=(replace(result.judged[0], value=None), result.judged[1]))
    table = join(listing, ["color"], [gap])
    assert table["value"].isna().tolist() == [True, False]
    write_table(table, tmp_path / "scores.parquet", VBENCH_SCORES)


def test_results_that_are_missing_twice_there_or_of_other_videos_are_refused() -> None:
    listing = listing_of("scene", "color")
    scene, color = results_of(listing, "scene"), results_of(listing, "color", size=2)
    wrong = {
        "2 results for 4 videos": [*scene, *color[1:]],
        "6 results for 4 videos": [*scene, *color, color[0]],
        "0 results for 4 videos": scene,
        "4 results for 4 videos": [
            *scene,
            replace(color[0], judged=(color[0].judged[0], replace(color[0].judged[1], key="another"))),
            *color[1:],
        ],
    }
    for told, results in wrong.items():
        with pytest.raises(InputError, match=rf"^color: {told}, and not one each; delete the folder color/"):
            join(listing, ["scene", "color"], results)


def test_a_dimension_that_judged_nothing_is_an_error() -> None:
    listing = listing_of("scene", "color")
    with pytest.raises(ScoreError, match="color: VBench found nothing to judge in any of 4 videos"):
        join(listing, ["scene", "color"], [*results_of(listing, "scene"), *results_of(listing, "color", value=None)])


# The table


def test_averages_and_totals_are_vbenchs_own() -> None:
    cells = random_cells(0)
    row = first([judged(cells)])
    expected = {}
    for name in DIMENSIONS:  # as VBench adds up, video after video
        known = [(value, weight) for one, _, _, value, weight in cells if one == name and value is not None]
        expected[name] = sum(value * weight for value, weight in known) / sum(weight for _, weight in known)
    expected |= totals(expected)
    assert {name: row[name] for name in NUMBERS} == pytest.approx({name: 100 * expected[name] for name in NUMBERS})
    assert row["videos"] == len({(one, replicate) for _, one, replicate, *_ in cells}) == 110
    assert (row["generator"], row["refiner"], row["source"]) == ("mini", "original", "measured")


def test_the_columns_are_the_papers_then_intervals() -> None:
    assert ",".join(COLUMNS[:6]) == "generator,refiner,videos,total,quality,semantic"
    assert COLUMNS[6:22] == tuple(DIMENSIONS)
    assert set(COLUMNS[22:-2]) == {f"{name}_ci_{end}" for name in NUMBERS for end in ("low", "high")}
    assert vbench_table([judged(random_cells(0))], FAST).columns.tolist() == list(COLUMNS)


@pytest.mark.parametrize(
    ("lost", "empty"),
    [
        (["color"], {"color", "semantic", "total"}),
        (["dynamic_degree", "imaging_quality"], {"dynamic_degree", "imaging_quality", "quality", "total"}),
        (list(DIMENSIONS)[1:], {*DIMENSIONS, *TOTALS} - {"subject_consistency"}),
    ],
)
def test_a_dimension_that_was_not_judged_leaves_cells_and_totals_empty(
    tmp_path: Path, lost: list[str], empty: set[str]
) -> None:
    kept = [name for name in DIMENSIONS if name not in lost]
    table = vbench_table([judged(random_cells(0, names=kept))], FAST)
    row, whole = table.iloc[0], first([judged(random_cells(0))])
    assert {name for name in NUMBERS if math.isnan(row[name])} == empty
    assert {name for name in INTERVALS if math.isnan(row[name])} == {
        f"{n}_ci_{e}" for n in empty for e in ("low", "high")
    }
    assert {name: row[name] for name in NUMBERS if name not in empty} == {
        name: pytest.approx(whole[name]) for name in NUMBERS if name not in empty
    }
    write(with_paper_rows(table, PAPER), tmp_path / "vbench", "VBench", [])
    again = pd.read_csv(tmp_path / "vbench.csv", dtype=str, keep_default_na=False).iloc[0]
    assert {name for name in NUMBERS if again[name] == ""} == empty


def test_intervals_hold_the_averages_and_are_no_wider_than_the_values() -> None:
    row = first([judged(random_cells(0, prompts=20))])
    for name in NUMBERS:
        assert row[f"{name}_ci_low"] < row[name] < row[f"{name}_ci_high"]
    for name in DIMENSIONS:
        assert row[f"{name}_ci_low"] >= 20 and row[f"{name}_ci_high"] <= 90


def test_intervals_cover_a_known_truth() -> None:
    truth = {name: 0.6 for name in DIMENSIONS}
    goal = {name: 100 * value for name, value in (truth | totals(truth)).items()}
    rounds, covered = 100, dict.fromkeys(("total", "semantic", "scene"), 0)
    for seed in range(rounds):
        rng = np.random.default_rng(seed)
        cells: list[Cell] = []
        for block, place in itertools.product(range(len(BLOCKS)), range(25)):
            level = rng.uniform(0.4, 0.8)  # prompts differ, and their videos too
            cells += [
                (name, block * 25 + place, k, rng.normal(level, 0.05), 1) for name in BLOCKS[block] for k in (0, 1)
            ]
        row = first([judged(cells)])
        for name in covered:
            covered[name] += row[f"{name}_ci_low"] <= goal[name] <= row[f"{name}_ci_high"]
    assert all(0.86 <= count / rounds <= 0.995 for count in covered.values()), covered


def test_videos_of_one_prompt_are_drawn_together() -> None:
    once = random_cells(0, replicates=1)
    thrice = [(name, row, replicate, value, weight) for name, row, _, value, weight in once for replicate in range(3)]
    one, three = first([judged(once)]), first([judged(thrice)])
    assert three[list(INTERVALS)].tolist() == pytest.approx(one[list(INTERVALS)].tolist())


def test_a_row_depends_on_its_values_but_on_no_name_order_or_company() -> None:
    cells = random_cells(0)
    rows = [judged(cells), judged(random_cells(1), "dpo-2"), judged(random_cells(2, prompts=3), generator="other")]
    table = vbench_table(rows, FAST)
    shuffled = [replace(row, scores=row.scores.sample(frac=1, random_state=7)) for row in rows]
    reverse = vbench_table(shuffled[::-1], FAST)
    pd.testing.assert_frame_equal(reverse[::-1].reset_index(drop=True), table, rtol=1e-12)

    same_values = first([judged(cells, "sft", "another")])
    numbers = [*NUMBERS, *INTERVALS]
    assert same_values[numbers].tolist() == table.loc[0, numbers].tolist()
    other_seed = first([judged(cells)], BootstrapConfig(resamples=199, seed=1))
    assert other_seed["total_ci_low"] != table["total_ci_low"][0]


@pytest.mark.parametrize("cells", [random_cells(0, prompts=1), [(*cell[:3], 0.5, 1) for cell in random_cells(0)]])
def test_without_spread_there_is_no_interval(cells: list[Cell]) -> None:
    row = first([judged(cells)])
    assert row[list(INTERVALS)].isna().all()
    assert row[["total", "scene"]].notna().all()


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"width": 32}, "are 16x16, 5 frames at 8 a second, those of dpo-2 are 32x16, 5 frames"),
        ({"height": 32}, "those of dpo-2 are 16x32, 5 frames at 8 a second"),
        ({"frames": 9}, "those of dpo-2 are 16x16, 9 frames at 8 a second"),
        ({"fps": 12.5}, "those of dpo-2 are 16x16, 5 frames at 12.5 a second"),
    ],
)
def test_refiners_are_compared_on_videos_of_one_kind_only(other: dict[str, Any], told: str) -> None:
    cells, listing = random_cells(0, prompts=2), replace(LISTING, **other)
    with pytest.raises(InputError, match=f"mini: the videos of original .*{told}"):
        vbench_table([judged(cells), judged(cells, "dpo-2", listing=listing)], FAST)
    assert len(vbench_table([judged(cells), judged(cells, "dpo-2", "other", listing)], FAST)) == 2


def test_refiners_are_compared_for_the_same_dimensions_and_prompts_only() -> None:
    cells = random_cells(0, prompts=2)
    with pytest.raises(InputError, match="mini: dpo-2 and original were judged for other dimensions; run again"):
        vbench_table([judged(cells), judged(random_cells(0, 2, names=["color", "scene"]), "dpo-2")], FAST)
    fewer = [cell for cell in cells if cell[1] != 3]
    with pytest.raises(InputError, match="mini: dpo-2 and original were judged for other rows; run again"):
        vbench_table([judged(cells), judged(fewer, "dpo-2")], FAST)


def test_the_papers_rows_stand_below_ours_as_printed() -> None:
    ours = vbench_table([judged(random_cells(0))], FAST)
    table, printed = with_paper_rows(ours, PAPER), pd.read_csv(PAPER)
    assert list(table.columns) == list(COLUMNS)
    assert table["source"].tolist() == ["measured"] + ["paper"] * 8
    named = ["generator", *NUMBERS]
    assert table[1:][named].values.tolist() == printed[named].values.tolist()
    ours_in_print = [name.replace("prompt-a-video", "dpo-2") for name in printed["refiner"]]
    assert table["refiner"][1:].tolist() == ours_in_print and ours_in_print[3::4] == ["dpo-2", "dpo-2"]
    assert table[1:][["videos", *INTERVALS]].isna().all(axis=None)
    assert table[:1].drop(columns="source").astype(object).equals(ours.drop(columns="source").astype(object))


@pytest.mark.parametrize("content", [None, "", "generator,refiner,total\nx,original,1\n"])
def test_unusable_paper_rows_are_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "table8.csv").write_text(content)
    with pytest.raises(InputError, match=r"table8\.csv: (cannot be read|lacks the columns) .*; restore it from"):
        with_paper_rows(vbench_table([judged(random_cells(0, prompts=2))], FAST), tmp_path / "table8.csv")


def test_every_file_of_the_table_marks_whose_numbers_they_are(tmp_path: Path) -> None:
    table = with_paper_rows(vbench_table([judged(random_cells(0))], FAST), PAPER)
    write(table, tmp_path / "vbench", "VBench", [METHOD_NOTE, PAPER_NOTE])
    assert (tmp_path / "vbench.csv").read_text().startswith("generator,refiner,videos,total,quality,semantic,subject_c")
    again = pd.read_csv(tmp_path / "vbench.csv")
    np.testing.assert_allclose(again[list(NUMBERS)], table[list(NUMBERS)], rtol=1e-9)
    assert again["source"].tolist() == table["source"].tolist()
    lines = [line for line in (tmp_path / "vbench.md").read_text().splitlines() if line.startswith("|")]
    assert [line.rstrip(" |").endswith("paper") for line in lines[2:]] == [False] + [True] * 8
    assert "81.960" in lines[-5]  # Prompt-A-Video's total


# The ablations


def reward_arm(refiner: str = "original", level: float = 2.0) -> Arm:
    """Rewards of prompts p000 to p003, two videos each; VideoScore's five are equal."""
    values = {
        (f"p{row:03}", k): {name: (level + row / 10 + k) / TO_FIVE[name] for name in METRICS}
        for row in range(4)
        for k in range(2)
    }
    scores = make_scores(values)
    return Arm("mini", "ablation", refiner, scores.assign(key=[f"{int(p[1:])}-{k}" for p, k in values]))


def ablation_cells() -> list[Cell]:
    return [
        (name, row, k, (0.1 if name == "imaging_quality" else 0.4) + row / 10 + k / 100, 1)
        for name in ("aesthetic_quality", "imaging_quality")
        for row in range(4)
        for k in range(2)
    ]


def test_the_ablations_show_videoscore_beside_two_of_vbenchs() -> None:
    row = ablation_table([judged(ablation_cells())], [reward_arm()], FAST).iloc[0]
    assert ",".join(row.index[:11]) == "generator,refiner,videos,VQ,TC,DD,TVA,FC,avg,aesthetic_quality,imaging_quality"
    assert (row["generator"], row["refiner"], row["videos"]) == ("mini", "original", 8)
    assert row[["VQ", "TC", "DD", "TVA", "FC", "avg"]].tolist() == pytest.approx([2.65] * 6)
    assert row["aesthetic_quality"] == pytest.approx(55.5) and row["imaging_quality"] == pytest.approx(25.5)
    for name in ("VQ", "avg", "aesthetic_quality", "imaging_quality"):
        assert row[f"{name}_ci_low"] < row[name] < row[f"{name}_ci_high"]


def test_the_ablations_draw_the_prompts_that_the_rewards_table_draws() -> None:
    arm = reward_arm()
    row, theirs = ablation_table([judged(ablation_cells())], [arm], FAST).iloc[0], videoscore_table([arm], FAST).iloc[0]
    ends = ["avg_ci_low", "avg_ci_high"]
    assert row[ends].tolist() == theirs[ends].tolist()


def test_ablations_of_another_objective_show_its_average() -> None:
    columns = Columns([Metric("LIGHT"), Metric("SHARP"), Metric("AES")], ["SHARP", "LIGHT"])
    scores = reward_arm().scores
    scores = scores[["prompt_id", "candidate", "replicate", "key", "AES_5"]].assign(LIGHT_5=2.0, SHARP_5=4.0)
    arm = Arm("mini", "ablation", "original", scores)
    table = ablation_table([judged(ablation_cells())], [arm], FAST, columns)
    shown = ["generator", "refiner", "videos", "SHARP", "LIGHT", "avg", "aesthetic_quality", "imaging_quality"]
    assert ablation_shown(columns) == list(table.columns)[:8] == shown
    assert table.loc[0, ["SHARP", "LIGHT", "avg"]].tolist() == [4.0, 2.0, 3.0]
    told = notes("ablation", [judged(ablation_cells())], "two", "paper", columns=columns)
    assert told[0].startswith("SHARP, LIGHT and their mean avg are on a 0-5 scale")


def test_an_ablation_that_lacks_a_dimension_leaves_it_empty() -> None:
    cells = [cell for cell in ablation_cells() if cell[0] == "aesthetic_quality"]
    row = ablation_table([judged(cells)], [reward_arm()], FAST).iloc[0]
    assert row[["imaging_quality", "imaging_quality_ci_low", "imaging_quality_ci_high"]].isna().all()
    assert row["aesthetic_quality"] == pytest.approx(55.5)


def test_ablations_want_both_judgements_of_the_same_videos() -> None:
    row, arm = judged(ablation_cells()), reward_arm()
    others = [
        Arm("mini", "ablation", "original", arm.scores[:-1]),
        Arm("mini", "ablation", "original", arm.scores.assign(key=[f"x{key}" for key in arm.scores["key"]])),
    ]
    for other in others:
        with pytest.raises(InputError, match="mini/original: VBench and the rewards judged other videos"):
            ablation_table([row], [other], FAST)
    slower = judged(ablation_cells(), "dpo-2", listing=replace(LISTING, fps=4.0))
    with pytest.raises(InputError, match="VBench's scores depend on that"):
        ablation_table([row, slower], [arm, reward_arm("dpo-2")], FAST)


# What is said below


def test_notes_say_what_the_numbers_are_and_what_is_missing() -> None:
    whole = [judged(random_cells(0, prompts=2))]
    assert notes("main", whole, "vbench", "paper", []) == [METHOD_NOTE, PAPER_NOTE]

    part = [judged(random_cells(0, prompts=2, names=["color", "temporal_flickering"]))]
    (missing,) = notes("main", part, "heldout", "paper", [])[2:]
    assert "evaluation.sets.heldout.vbench" in missing
    assert all((name in missing) == (name not in ("color", "temporal_flickering")) for name in DIMENSIONS)

    assert notes("main", whole, "vbench", "laptop", [])[2:] == [LAPTOP_NOTE]
    assert notes("main", [], "", "laptop", [])[2:] == [LEFT_OUT_NOTE, LAPTOP_NOTE]
    assert notes("main", whole, "vbench", "paper", ["On an H100."])[2:] == ["On an H100."]


def test_a_part_of_the_list_says_so_and_gets_no_papers_rows_beside_it() -> None:
    few = judged(random_cells(0, prompts=2), listing=replace(LISTING, videos=WHOLE[:128] * 2))
    assert part(few) == "128 of 946 prompts" and part(judged(random_cells(0, prompts=2))) == ""
    assert part(judged(random_cells(0, prompts=2), listing=replace(LISTING, mode="custom", videos=WHOLE[:3]))) == ""
    (told,) = notes("main", [few], "vbench", "paper", [])[1:]
    assert "128 of 946 prompts" in told and "the paper's rows are left out" in told
    assert vbench_table([few], FAST)["part"].tolist() == ["128 of 946 prompts"]


def test_notes_warn_of_what_compares_with_nobodys_numbers() -> None:
    cells = random_cells(0, prompts=2)
    custom, long = replace(LISTING, mode="custom"), replace(LISTING, frames=40)
    assert notes("main", [judged(cells, listing=custom)], "x", "paper", [])[2:] == [CUSTOM_NOTE]
    (told,) = notes("main", [judged(cells, listing=long), judged(cells, "dpo-2", listing=long)], "x", "paper", [])[2:]
    assert told == "Videos of mini last 5 s or more, for which VBench-Long is the benchmark."
    assert notes("main", [judged(cells, listing=replace(long, frames=39))], "x", "paper", []) == [
        METHOD_NOTE,
        PAPER_NOTE,
    ]
    other = judged(cells, generator="other", listing=replace(LISTING, width=32))
    (ways,) = notes("main", [judged(cells), other], "x", "paper", [])[2:]
    assert "mini 16x16, 5 frames at 8 a second; other 32x16, 5 frames at 8 a second" in ways
