from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from makers import FAST, PAPER, RAW, ROOT
from scipy import stats

from promptavideo.comparisons import comparisons, shown
from promptavideo.config import COLUMNS, check
from promptavideo.errors import InputError
from promptavideo.hps_table import (
    AVERAGE,
    STYLES,
    HpsArm,
    all_columns,
    hps_table,
    notes,
    with_paper_row,
)
from promptavideo.hps_table import shown as shown_columns
from promptavideo.resampling import bootstrap_interval, strata_interval
from promptavideo.seeds import derive
from promptavideo.settings import lay
from promptavideo.study import Study
from promptavideo.tables import Arm, read, write


def arm(
    refiner: str, values: dict[str, list[float]], replicates: int = 1, set_: str = "bench", **settings: Any
) -> HpsArm:
    """One prompt a value, style by style; ids count down, so that their order is not that of the set."""
    count = sum(map(len, values.values()))
    ids = [f"p{count - place:04}" for place in range(count)]
    styles = [style for style, of_style in values.items() for _ in of_style]
    prompts = pd.DataFrame({"prompt_id": ids, "prompt": "a cat", "style": styles})
    scored = [value for of_style in values.values() for value in of_style]
    rows = [
        {"prompt_id": identity, "candidate": 0, "replicate": number, "refined": "a cat sits", "HPS": value + number}
        for identity, value in zip(ids, scored, strict=True)
        for number in range(replicates)
    ]
    scores = pd.DataFrame(rows).sort_values(["prompt_id", "replicate"], ignore_index=True)
    return HpsArm(Arm("painter", set_, refiner, scores), prompts, list(values), **settings)


def benchmark(seed: int, size: int = 800, shift: float = 0.0) -> dict[str, list[float]]:
    rng = np.random.default_rng(seed)
    return {style: (rng.normal(30 - place, 3, size) + shift).tolist() for place, style in enumerate(STYLES)}


def protocol(values: list[float]) -> tuple[float, float]:
    """HPSv2's: of 800 scores in the order of the file, in ten steps of 80."""
    averages = [np.mean(values[start : start + 80]) for start in range(0, 800, 80)]
    return float(np.mean(averages)), float(np.std(averages))


def test_eight_hundred_prompts_a_style_give_the_numbers_of_hpsv2s_own_code() -> None:
    values = benchmark(1)
    (row,) = hps_table([arm("original", values)], FAST).to_dict("records")
    for style in STYLES:
        assert (row[style], row[f"{style}_std"]) == pytest.approx(protocol(values[style]), rel=1e-12)
    assert row["mean"] == pytest.approx(np.mean([protocol(values[style])[0] for style in STYLES]), rel=1e-12)
    assert row["images"] == 3200 and row["mean_ci_low"] < row["mean"] < row["mean_ci_high"]


def test_a_small_table_by_hand() -> None:
    original = arm("original", {"wall": [1.0, 2.0, 6.0], "tiles": [4.0, 6.0]})
    better = arm("better", {"wall": [2.0, 2.0, 8.0], "tiles": [4.0, 9.0]}, tokens_seen=0.5)
    table = hps_table([original, better], FAST).set_index("refiner")
    assert table.loc["original", ["wall", "tiles", "mean"]].tolist() == pytest.approx([3.0, 5.0, 4.0])
    assert table.loc["better", ["wall", "tiles", "mean", "gain"]].tolist() == pytest.approx([4.0, 6.5, 5.25, 1.25])
    # Fewer than ten prompts are as many groups, of one prompt each.
    assert table.loc["original", "wall_std"] == pytest.approx(np.std([1.0, 2.0, 6.0]))
    assert table["images"].tolist() == [5, 5] and table["words"].tolist() == [3.0, 3.0]
    assert pd.isna(table.loc["original", ["gain", "p_value", "tokens_seen"]]).all()
    assert table.loc["better", "tokens_seen"] == 0.5
    # Signs of five differences, two of them zero: the mean over styles is as far from 0 in 2 of their 8 patterns.
    assert table.loc["better", "p_value"] == pytest.approx(2 / 8)


def test_replicates_are_averaged_first_and_every_image_counts() -> None:
    once = hps_table([arm("original", {"wall": [1.0, 2.0, 6.0]})], FAST).iloc[0]
    twice = hps_table([arm("original", {"wall": [1.0, 2.0, 6.0]}, replicates=2)], FAST).iloc[0]
    assert twice["wall"] == pytest.approx(once["wall"] + 0.5) and twice["images"] == 6
    assert twice["wall_std"] == pytest.approx(once["wall_std"])


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(800, [80] * 10), (25, [3] * 5 + [2] * 5), (10, [1] * 10), (3, [1] * 3), (793, [80] * 3 + [79] * 7)],
)  # fmt: skip
def test_groups_are_consecutive_in_the_order_of_the_set(count: int, sizes: list[int]) -> None:
    values = [float(place) for place in range(count)]
    row = hps_table([arm("original", {"wall": values})], FAST).iloc[0]
    ends = np.cumsum([0, *sizes])
    means = [np.mean(values[start:end]) for start, end in pairwise(ends)]
    assert row["wall_std"] == pytest.approx(np.std(means)) and row["wall"] == pytest.approx(np.mean(values))
    said = "80" if count == 800 else f"{min(sizes)} to {max(sizes)}" if min(sizes) < max(sizes) else str(sizes[0])
    lines = notes([arm("original", {"wall": values})], "paper")
    assert f"A style has {count} prompts here, and a group {said};" in " ".join(lines)


def test_prompts_are_drawn_within_their_style() -> None:
    strata = [np.array([1.0, 2.0, 3.0, 7.0]), np.array([100.0, 101.0, 103.0])]
    low, high = strata_interval(strata, FAST, "bench")
    assert 50 < low < np.mean([3.25, 304 / 3]) < high < 54, "other shares of the styles would be far off"
    plain = stats.bootstrap(
        (strata[0],), np.mean, n_resamples=FAST.resamples, method="BCa",
        rng=np.random.default_rng(derive(FAST.seed, "interval", "bench")), batch=1000,
    ).confidence_interval  # fmt: skip
    assert bootstrap_interval(strata[0], FAST, "bench") == (plain.low, plain.high)
    assert np.isnan(strata_interval([strata[0], strata[1][:1]], FAST, "bench")).all()
    assert np.isnan(strata_interval([], FAST, "bench")).all()
    same = strata_interval([np.ones(4), np.ones(3)], FAST, "bench")
    assert np.isnan(same).all()
    assert np.isfinite(strata_interval([strata[0], np.ones(3)], FAST, "bench")).all()


def test_gains_are_paired_and_a_row_depends_on_no_other() -> None:
    original, better = arm("original", benchmark(1, 25)), arm("better", benchmark(1, 25, shift=0.5))
    worse = arm("worse", benchmark(2, 25, shift=-2.0))
    table = hps_table([original, better, worse], FAST).set_index("refiner")
    assert table.loc["better", "gain"] == pytest.approx(0.5)
    assert pd.isna(table.loc["better", "gain_ci_low"]), "all differences are the same"
    assert table.loc["worse", "gain"] == pytest.approx(table.loc["worse", "mean"] - table.loc["original", "mean"])
    assert table.loc["worse", "gain_ci_low"] < table.loc["worse", "gain"] < table.loc["worse", "gain_ci_high"] < 0
    assert table.loc["worse", "p_value"] < 0.01
    alone = hps_table([worse, original], FAST).set_index("refiner")
    pd.testing.assert_frame_equal(alone, table.loc[["worse", "original"]])
    assert pd.isna(hps_table([worse], FAST)["gain"]).all(), "without the original prompts there is none"


def test_sets_with_other_styles_stand_in_one_table() -> None:
    one, other = arm("original", {"wall": [1.0, 2.0]}), arm("original", {"photo": [3.0, 4.0]}, set_="coco")
    table = hps_table([one, other], FAST)
    assert list(table.columns) == all_columns(["wall", "photo"])
    assert table["wall"].tolist()[0] == 1.5 and pd.isna(table["wall"][1]) and table["mean"].tolist() == [1.5, 3.5]


def test_other_prompts_than_those_of_the_set_are_refused() -> None:
    original = arm("original", {"wall": [1.0, 2.0, 6.0]})
    fewer = HpsArm(arm("better", {"wall": [1.0, 2.0]}).arm, original.prompts, ["wall"])
    with pytest.raises(InputError, match=r"arm painter/bench/better: 1 prompts are only in its scores or only in"):
        hps_table([original, fewer], FAST)
    with pytest.raises(InputError, match=r"better lacks 3 videos that .*original has"):
        hps_table([arm("original", {"wall": [1.0, 2.0, 6.0]}, 2), arm("better", {"wall": [1.0, 2.0, 6.0]})], FAST)


def test_the_papers_row_is_empty_and_the_files_can_be_read_again(tmp_path: Path) -> None:
    arms = [arm("original", benchmark(1, 25)), arm("better", benchmark(2, 25), tokens_seen=0.75)]
    table = with_paper_row(hps_table(arms, FAST), PAPER / "hpsv2.csv")
    last = table.iloc[-1]
    assert (last["set"], last["refiner"]) == ("paper", "dpo-2")
    assert last.drop(["set", "refiner"]).isna().all()
    said = notes(arms, "laptop", ["pae: filmed as plain text"])
    write(table, tmp_path / "hpsv2", "HPS", said, shown_columns(table))
    _, again, lines = read(tmp_path / "hpsv2", whole=True)
    pd.testing.assert_frame_equal(again, table, check_dtype=False)
    assert lines == said and "laptop-scale" in said[-1] and "on HPSv2" in said[-2] and "anime 32.84" in said[-3]
    text = (tmp_path / "hpsv2.md").read_text()
    assert "anime" in text and "anime_std" not in text and "pae: filmed as plain text" in text
    assert "anime_std" in (tmp_path / "hpsv2.csv").read_text()
    assert not any("32.84" in line for line in notes([arm("original", {"wall": [1.0]})], "paper"))


def test_no_style_can_be_called_like_another_column() -> None:
    others = {*all_columns([]), *AVERAGE}
    assert {name for name in others if not name.startswith(("mean_", "gain_"))} == set(COLUMNS)


# --- which rows ---

HPS = {"kind": "hps", "model": "hps", "base": "clip-h"}
IMAGES: dict[str, Any] = {
    "models": {name: {"kind": "local", "path": f"elsewhere/{name}"} for name in ("painter", "hps", "clip-h")},
    "generators": {
        "painter": {
            "kind": "diffusers", "medium": "image", "pipeline": "StableDiffusionPipeline", "model": "painter",
            "dtype": "float32", "device": "cpu", "batch_size": 4, "seconds_per_video": 0.1,
            "sampling": {"height": 32, "width": 32, "num_inference_steps": 2},
        }
    },
    "judges": {"preference": {**HPS, "role": "report"}},
    "prompt_sets": {"styled": {"file": "resources/prompts/miniature-styles.csv", "style_column": "style"}},
    "evaluation": {
        "sets": {"styled": {"prompts": "styled", "styles": ["wall", "tiles", "stripes", "horizon"]}},
        "refiners_of": {"painter": ["original", "llm", "dpo-1"]},
    },
}  # fmt: skip


def study(*overlays: dict[str, Any]) -> Study:
    raw, _ = lay({"config.yaml": RAW, **{str(place): one for place, one in enumerate(overlays)}})
    return Study(check(raw, ROOT), ROOT)


def test_the_rows_are_the_refiners_of_images_on_sets_with_styles() -> None:
    found = study(IMAGES)
    table = comparisons(found)["hpsv2"]
    assert "hpsv2" in shown(found)
    names = ["evaluation/styled/original", "evaluation/styled/llm", "evaluation/styled/dpo-1"]
    assert [(row.track, row.name) for row in table.rows("tables")] == [("painter", name) for name in names]
    assert table.rows("painter/tables") == table.rows("tables") and not table.rows("mini-t2v/tables")
    files = table.files("tables")
    assert "results/painter/evaluation/styled/llm/preference/scores.parquet" in files
    assert {"results/prompt_sets/styled.parquet", "resources/paper/hpsv2.csv"} <= set(files)
    assert "results/painter/boosters/dpo-1/booster.json" in files
    assert not any("rewards" in file for file in files)


def test_a_reward_may_fill_hps_and_without_a_judge_or_styles_there_is_no_table() -> None:
    rewards = [*RAW["objective"], "HPS"] if "objective" in RAW else ["VQ", "TC", "DD", "TVA", "FC", "AES", "MPS", "HPS"]
    rewarded = study(IMAGES, {"judges": {"preference": {"role": "reward"}}, "objective": rewards})
    assert "results/painter/evaluation/styled/original/rewards/scores.parquet" in comparisons(rewarded)["hpsv2"].files(
        "tables"
    )
    for without in (
        {"judges": {"preference": None}},
        {"judges": {"preference": {"on": ["heldout"]}}},
        {"evaluation": {"sets": {"styled": {"styles": []}}}},
    ):
        assert "hpsv2" not in comparisons(study(IMAGES, without)), without
    assert "hpsv2" not in comparisons(study())


def test_the_order_of_styles_and_the_judge_decide_the_table() -> None:
    other = {"evaluation": {"sets": {"styled": {"styles": ["tiles", "wall", "stripes", "horizon"]}}}}
    tables = [comparisons(study(IMAGES, more))["hpsv2"].decides("tables") for more in ({}, other)]
    assert tables[0] != tables[1]
    assert comparisons(study(IMAGES))["videoscore"].decides("tables") == comparisons(study(IMAGES, other))[
        "videoscore"
    ].decides("tables")


# --- what an entry says below its tables ---


def test_a_remark_stands_below_every_table_with_a_row_of_its_refiner() -> None:
    said = "its prompts need a pipeline of their own, and are filmed as plain text."
    heldout = "resources/prompts/miniature-styles.csv"
    pae = {"kind": "file", "file": heldout, "column": "prompt", "remark": said}
    added = {"refiners": {"pae": pae}, "evaluation": {"also": ["pae"]}}
    found, silent = study(added), study(added, {"refiners": {"pae": {"remark": None}}})
    origins = [
        {"refiner": name, "track": "mini-t2v", "generator": "mini-t2v", "set": "heldout", "scores": {}}
        for name in ("original", "pae")
    ]
    for name, table in comparisons(found).items():
        assert table.remarks(origins) == [f"pae: {said}"], name
        assert table.remarks(origins[:1]) == []
    assert found.config.refiners["pae"].decides() == silent.config.refiners["pae"].decides(), "no text is written anew"
    decides = [comparisons(one)["videoscore"].decides("tables") for one in (found, silent)]
    assert decides[0] == {**decides[1], "remarks": {"pae": said}}
    above = {"refiners": {"above": {"kind": "booster", "booster": "sft"}}}
    assert "remarks" not in comparisons(study(above))["videoscore"].decides("tables")
