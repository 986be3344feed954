"""What stages gain and cost, by numbers that can be computed by hand."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from makers import FAST, METRICS, RAW, ROOT

from promptavideo.comparisons import comparisons, shown
from promptavideo.comparisons.convergence import ConvergenceTable
from promptavideo.config import check
from promptavideo.convergence import Stage, convergence_table, distinct, repeated
from promptavideo.convergence import shown as shown_columns
from promptavideo.errors import InputError
from promptavideo.figures import convergence
from promptavideo.metrics import PAPER, VIDEOSCORE, Metric
from promptavideo.price import Filmed, Price, price, read_filmed
from promptavideo.settings import lay
from promptavideo.store import Entry, write_manifest
from promptavideo.study import Study
from promptavideo.tables import Arm, Columns
from promptavideo.timing import Timing

OVERLAY = yaml.safe_load((ROOT / "studies/convergence.yaml").read_text(encoding="utf-8"))
PAPER_SCALE = yaml.safe_load((ROOT / "paper.yaml").read_text(encoding="utf-8"))
COLUMNS = Columns(PAPER, [metric.name for metric in VIDEOSCORE], [Metric("KEEP", 0.0, 1.0)])
FREE = Price(0, 0.0, ())


def study(*overlays: dict[str, Any]) -> Study:
    raw, _ = lay({"config.yaml": RAW, **{str(place): one for place, one in enumerate(overlays)}})
    return Study(check(raw, ROOT), ROOT)


def table_of(found: Study) -> ConvergenceTable:
    table = comparisons(found)["convergence"]
    assert isinstance(table, ConvergenceTable)
    return table


def arm(refiner: str, averages: list[float], dynamic: list[float], texts: list[str], kept: float = 1.0) -> Arm:
    """One video a prompt: every metric but DD as `averages` says."""
    scores = pd.DataFrame({"prompt_id": [f"p{place}" for place in range(len(averages))], "refined": texts})
    scores = scores.assign(candidate=0, replicate=0, KEEP=kept)
    for name in METRICS:
        scores[f"{name}_5"] = dynamic if name == "DD" else averages
    return Arm("mini", "heldout", refiner, scores)


def candidates(*texts: tuple[str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(texts, columns=["prompt_id", "refined"])
    return frame.assign(candidate=frame.groupby("prompt_id").cumcount())


# --- the price ---


def job(items: int, seconds: float, device: str = "card") -> Timing:
    return Timing(items, seconds, device=device)


def filmed(keys: str, *jobs: Timing, generator: str = "mini") -> Filmed:
    return Filmed(frozenset((generator, key) for key in keys), jobs)


def test_a_video_counts_once_and_its_hours_with_it() -> None:
    first = filmed("abcd", job(4, 3600.0 * 4))
    second = filmed("cdef", job(4, 3600.0 * 8, "other card"))
    assert price([first, second]) == Price(6, 4.0 + 2 * 2.0, ("card", "other card"))
    assert price([second, first]) == Price(6, 8.0 + 2 * 1.0, ("other card", "card"))
    assert price([first, first]) == price([first]) == Price(4, 4.0, ("card",))
    assert price([]) == FREE


def test_videos_of_two_generators_are_two() -> None:
    assert price([filmed("a", job(1, 36.0)), filmed("a", job(1, 36.0), generator="other")]).videos == 2


def test_what_a_job_found_in_the_store_took_as_long_as_what_was_measured() -> None:
    """A killed job left no record; the one after it recorded one video of four."""
    assert price([filmed("abcd", job(1, 1800.0), job(0, 0.0, "idle"))]) == Price(4, 2.0, ("card",))


def test_what_nothing_measured_has_no_hours_and_no_wrong_ones() -> None:
    unknown = price([filmed("ab", job(0, 0.0)), filmed("cd", job(2, 3600.0))])
    assert unknown.videos == 4 and math.isnan(unknown.hours)
    assert price([filmed("cd", job(2, 3600.0)), filmed("cd", job(0, 0.0))]).hours == 1.0, "it filmed nothing of its own"


def test_a_batch_is_read_from_its_manifests_and_the_records_beside_them(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    found = study({"shard_size": 30})
    batch = found.rounds("mini-t2v")[1]
    assert len(found.shards(batch)) == 2
    for place, shard in enumerate(found.shards(batch)):
        manifest = Path(found.files(batch).manifest(shard))
        write_manifest([Entry("p", 1, 0, "same", "", 8, 8.0), Entry("p", 2, 0, f"k{place}", "", 8, 8.0)], manifest)
        job(3, 6.0).write(Path(found.files(batch).filming(shard)))
    read = read_filmed(found, batch)
    assert read.videos == {("mini-t2v", "same"), ("mini-t2v", "k0"), ("mini-t2v", "k1")}
    assert read.seconds_each == 2.0 and price([read]).hours == pytest.approx(6.0 / 3600)


# --- the texts ---


def test_texts_are_counted_once_a_prompt() -> None:
    scores = pd.DataFrame(
        {
            "prompt_id": ["p", "p", "q", "r"],
            "refined": [
                "well lit, well lit",
                "well lit, well lit",
                "a ball, well lit, steady camera, well lit",
                "a ball",
            ],
        }
    )
    assert repeated(scores) == pytest.approx(2 / 3)


def test_distinct_is_the_mean_share_of_different_texts_over_the_prompts_of_all_tracks() -> None:
    one = candidates(("p", "a ball"), ("p", "A  ball."), ("p", "a box"), ("p", "a cone"), ("q", "x"), ("q", "y"))
    assert distinct([one]) == pytest.approx((3 / 4 + 1) / 2)
    assert distinct([one, candidates(("p", "x"), ("p", "x"))]) == pytest.approx((3 / 4 + 1 + 1 / 2) / 3)
    assert distinct([pd.concat([one, one.assign(replicate=1)])]) == distinct([one]), "replicates are no candidates"


# --- the table ---


ORIGINAL = arm("original", [2.0, 3.0, 2.0, 1.0], [3.0, 3.0, 3.0, 3.0], ["a ball"] * 4)
SFT = arm("sft", [2.5, 3.5, 2.5, 1.5], [2.0, 2.0, 2.0, 2.0], ["red ball, red ball", "a ball", "a", "a b c d"], 0.5)
DPO = arm("dpo-1", [3.5, 3.5, 2.5, 2.5], [1.0, 2.0, 1.0, 2.0], ["a ball"] * 4)
STAGES = [
    Stage(ORIGINAL, [], FREE, 0),
    Stage(SFT, [], Price(200, 0.5, ("card",)), 200),
    Stage(DPO, [candidates(("p0", "a"), ("p0", "a"), ("p1", "b"), ("p1", "c"))], Price(500, 2.0, ("card",)), 300),
]


def test_a_stage_has_its_gain_its_step_its_texts_and_its_price() -> None:
    table = convergence_table(STAGES, FAST, COLUMNS).set_index("refiner")
    # avg is the mean of four equal metrics and DD.
    averages = [(4 * 2.0 + 3.0) / 5, (4 * 2.5 + 2.0) / 5, (4 * 3.0 + 1.5) / 5]
    assert table["avg"].tolist() == pytest.approx(averages)
    assert table["gain"].tolist()[1:] == pytest.approx([0.2, 0.5])
    assert table["before"].tolist()[1:] == ["original", "sft"] and pd.isna(table["before"].iloc[0])
    assert table["step"].tolist()[1:] == pytest.approx([0.2, 0.3])
    # By prompt DPO gains (4 * 1 - 1) / 5, 0, (0 - 1) / 5 and (4 * 1) / 5 on SFT.
    low, high = table.loc["dpo-1", ["step_ci_low", "step_ci_high"]]
    assert -0.2 < low < 0.3 < high < 0.8
    assert table.loc["sft", ["step_ci_low", "step_ci_high"]].isna().all(), "the same for every prompt: no spread"
    # Of 16 patterns of signs, those of the three that are not 0 count: 3 of 8 sums are as far from 0 on each side.
    sums = [abs(a * 0.6 + b * -0.2 + c * 0.8) for a in (1, -1) for b in (1, -1) for c in (1, -1)]
    chance = sum(one >= 1.2 - 1e-9 for one in sums) / len(sums)
    assert table.loc["dpo-1", "step_p_value"] == pytest.approx(chance) == pytest.approx(0.5)
    assert table["DD"].tolist() == [3.0, 2.0, 1.5]
    assert table["DD_gain"].tolist()[1:] == [-1.0, -1.5]
    assert table["KEEP"].tolist() == [1.0, 0.5, 1.0] and table["KEEP_gain"].tolist()[1:] == [-0.5, 0.0]
    assert table["words"].tolist() == [2.0, (4 + 2 + 1 + 4) / 4, 2.0]
    assert table["repeated"].tolist() == [0.0, 0.25, 0.0]
    assert table["distinct"].tolist()[2] == 0.75 and table["distinct"].isna().tolist() == [True, True, False]
    assert table["filmed"].tolist() == [0, 200, 300] and table["filmed_total"].tolist() == [0, 200, 500]
    assert table["gain_per_1000_videos"].tolist()[1:] == pytest.approx([1.0, 1.0])
    assert table["gain_per_hour"].tolist()[1:] == pytest.approx([0.4, 0.25])
    nothing = table.loc[
        "original", ["gain", "step", "step_p_value", "DD_gain", "gain_per_1000_videos", "gain_per_hour"]
    ]
    assert nothing.isna().all()


def test_another_set_begins_again_and_another_objective_has_no_dynamic_degree() -> None:
    other = [
        Stage(Arm("mini", "more", one.arm.refiner, one.arm.scores), one.candidates, one.price, 0) for one in STAGES
    ]
    table = convergence_table([*STAGES, *other], FAST, COLUMNS)
    assert table["before"].fillna("").tolist() == ["", "original", "sft"] * 2
    assert set(shown_columns(COLUMNS)) <= set(table.columns)
    columns = Columns([metric for metric in PAPER if metric.name != "DD"], ["VQ"])
    found = convergence_table(STAGES, FAST, columns)
    assert not {"DD", "DD_gain"} & {*found.columns, *shown_columns(columns)}
    assert set(shown_columns(columns)) <= set(found.columns)
    assert convergence_table([], FAST, COLUMNS).empty


def test_a_stage_of_other_prompts_is_refused() -> None:
    fewer = Arm("mini", "heldout", "sft", SFT.scores.iloc[:3])
    with pytest.raises(InputError, match="sft lacks 1 videos"):
        convergence_table([STAGES[0], Stage(fewer, [], FREE, 0)], FAST, COLUMNS)


def test_the_figure_has_a_row_a_set_and_draws_texts_as_they_are(tmp_path: Path) -> None:
    hostile = Arm("mini", "$x^2$ <b>", "original", ORIGINAL.scores), Arm("mini", "$x^2$ <b>", "\\frac", DPO.scores)
    more = [Stage(one, [], price_, 0) for one, price_ in zip(hostile, (FREE, Price(9, math.nan, ())), strict=True)]
    sizes = []
    for name, stages in (("one", STAGES), ("again", STAGES), ("two", [*STAGES, *more])):
        table = convergence_table(stages, FAST, COLUMNS)
        convergence(table, tmp_path / f"{name}.png")
        data = (tmp_path / f"{name}.png").read_bytes()
        sizes.append((int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")))
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    assert sizes[0] == sizes[1] and sizes[2] == (sizes[0][0], 2 * sizes[0][1])


# --- which rows and files ---


def test_the_overlay_adds_two_rounds_at_both_scales() -> None:
    laptop, paper = study(OVERLAY), study(PAPER_SCALE, OVERLAY)
    chain = ["sft", "dpo-1", "dpo-2", "dpo-3", "dpo-4"]
    assert table_of(laptop).stages("mini-t2v") == ["original", "llm", *chain]
    assert table_of(paper).stages("cogvideox-5b") == ["original", "glm-4", *chain]
    assert table_of(paper).stages("open-sora-1.2") == ["original", "gpt-4o", *chain]
    assert "convergence" in shown(laptop) and "convergence" in shown(paper)


def test_without_the_overlay_the_table_can_be_made_of_what_there_is_and_nothing_else_makes_it() -> None:
    found = study()
    assert "convergence" not in shown(found) and table_of(found).stages("mini-t2v")[-1] == "dpo-2"
    assert "convergence" not in comparisons(study({"evaluation": {"refiners": ["original", "llm"]}}))


def test_a_stage_waits_for_all_that_was_filmed_for_it_and_counts_its_own() -> None:
    found = study(OVERLAY)
    dpo = found.booster("dpo-2", "mini-t2v")
    rounds = [f"evolution/round-{number}" for number in range(5)]
    assert [one.name for one in found.learned_from(dpo)] == [*rounds, "dpo-1", "dpo-2"]
    assert [one.name for one in found.own_batches(dpo)] == ["dpo-2"]
    table = table_of(found)
    files = table.files("mini-t2v/tables")
    for batch in found.learned_from(found.booster("dpo-4", "mini-t2v")):
        assert {*found.manifests(batch), *found.filmings(batch)} <= set(files)
    assert "results/mini-t2v/dpo-4/prompts.parquet" in files
    assert "results/mini-t2v/evaluation/heldout/dpo-4/rewards/scores.parquet" in files
    assert "results/mini-t2v/boosters/dpo-4/booster.json" in files
    assert len(files) == len(set(files))


def test_a_shared_booster_costs_the_videos_of_all_its_tracks_and_others_stand_in_no_order() -> None:
    found = study(
        {
            "generators": {"other": {"like": "mini-t2v", "sampling": {"num_inference_steps": 3}}},
            "boosters": {"universal": {"trainer": "sft", "tracks": ["mini-t2v", "other"]}},
            "refiners": {"universal": {"kind": "booster", "booster": "universal"}},
            "evaluation": {"also": ["universal"], "refiners_of": {"other": ["original"]}},
        }
    )
    table = table_of(found)
    assert table.stages("mini-t2v") == ["original", "llm", "sft", "dpo-1", "dpo-2"]
    assert table.stages("other") == ["original", "universal"]
    learned = found.learned_from(found.booster("universal", "other"))
    assert {one.track for one in learned} == {"mini-t2v", "other"} and len(learned) == 10


def test_rows_that_stand_there_twice_are_refused() -> None:
    with pytest.raises(InputError, match=r"evaluation\.refiners: 'llm' is listed more than once"):
        study({"evaluation": {"also": ["llm"]}})
    with pytest.raises(InputError, match=r"evaluation\.also: there is no 'dpo-9'"):
        study({"evaluation": {"also": ["dpo-9"]}})
