"""The gains of boosters over all that they are compared with."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from makers import FAST, METRICS, RAW, ROOT, TO_FIVE, changed, flat_scores, make_scores

from promptavideo.comparisons import comparisons
from promptavideo.config import check
from promptavideo.errors import InputError, ScoreError
from promptavideo.gains import COLUMNS, Pair, gains_table, notes
from promptavideo.study import Study
from promptavideo.tables import PAPER_COLUMNS, Arm, read, videoscore_table, write


def arm(refiner: str, seed: int, shift: float = 0.0) -> Arm:
    rng = np.random.default_rng(seed)
    values = {
        (f"p{prompt:03}", replicate): {d: rng.normal(2.5 + shift, 0.3) / TO_FIVE[d] for d in METRICS}
        for prompt in range(12)
        for replicate in range(2)
    }
    return Arm("mini", "test", refiner, make_scores(values))


ORIGINAL, LLM, DPO = arm("original", 1), arm("llm", 2, -0.1), arm("dpo-2", 3, 0.3)


def test_against_the_originals_they_are_the_gains_of_the_videoscore_table_to_the_bit() -> None:
    gains = gains_table([Pair(DPO, ORIGINAL), Pair(DPO, LLM)], FAST)
    scores = videoscore_table([ORIGINAL, LLM, DPO], FAST).set_index("refiner")
    assert tuple(gains) == COLUMNS
    first, second = gains.to_dict("records")
    cells = {"diff": "gain", "diff_ci_low": "gain_ci_low", "diff_ci_high": "gain_ci_high", "p_value": "p_value"}
    assert {name: first[name] for name in cells} == {name: scores.loc["dpo-2", cell] for name, cell in cells.items()}
    assert (first["avg"], first["avg_against"]) == (scores.loc["dpo-2", "avg"], scores.loc["original", "avg"])
    assert (second["against"], second["avg_against"], second["videos"]) == ("llm", scores.loc["llm", "avg"], 24)
    assert second["diff"] == pytest.approx(scores.loc["dpo-2", "avg"] - scores.loc["llm", "avg"])
    other = videoscore_table([LLM, DPO], FAST, baseline="llm").iloc[1]
    assert second["diff_ci_low"] == other["gain_ci_low"] < second["diff"] < other["gain_ci_high"]


def test_images_are_compared_by_the_metrics_that_they_have() -> None:
    def stills(one: Arm) -> Arm:
        return Arm("t2i", "test", one.refiner, one.scores[["prompt_id", "replicate", "refined", "AES_5", "MPS_5"]])

    table = gains_table([Pair(stills(DPO), stills(ORIGINAL))], FAST)
    five = [DPO.scores[["AES_5", "MPS_5"]].to_numpy().mean(), ORIGINAL.scores[["AES_5", "MPS_5"]].to_numpy().mean()]
    assert table.loc[0, ["avg", "avg_against"]].tolist() == pytest.approx(five)


def test_what_cannot_be_paired_is_refused() -> None:
    short = Arm("mini", "test", "original", ORIGINAL.scores.iloc[1:])
    with pytest.raises(InputError, match="arm mini/test/original lacks 1 videos that mini/test/dpo-2 has"):
        gains_table([Pair(DPO, short)], FAST)
    broken = Arm("mini", "test", "dpo-2", DPO.scores.assign(VQ_5=np.nan))
    with pytest.raises(ScoreError, match="not a finite number"):
        gains_table([Pair(broken, ORIGINAL)], FAST)


def test_one_prompt_has_no_interval(tmp_path: Path) -> None:
    pair = Pair(Arm("g", "s", "2.0", flat_scores([3.0])), Arm("g", "s", "1.0", flat_scores([2.0])))
    table = gains_table([pair], FAST)
    assert table["diff"].tolist() == [1.0] and table[["diff_ci_low", "diff_ci_high", "p_value"]].isna().all(axis=None)
    write(table, tmp_path / "gains", "Gains", notes("laptop", ["a remark"]))
    title, again, said = read(tmp_path / "gains")
    assert title == "Gains" and again["against"].tolist() == ["1.0"], "names stay names"
    assert "VQ, TC, DD, TVA, FC" in said[0] and said[1] == "a remark" and "not comparable" in said[2]
    assert "comparable" not in " ".join(notes("paper", [], PAPER_COLUMNS))


def study(**sections: Any) -> Study:
    return Study(check(changed("seed", 1) | sections, ROOT), ROOT)


def test_its_rows_are_boosters_and_what_they_are_compared_with() -> None:
    asked = comparisons(study())["gains"]
    names = [row.name for row in asked.rows("tables")]
    assert names == [f"evaluation/heldout/{one}" for one in ("original", "llm", "sft", "dpo-1", "dpo-2")]
    files = asked.files("mini-t2v/tables")
    assert files[0] == "results/mini-t2v/evaluation/heldout/original/rewards/scores.parquet"
    assert "results/mini-t2v/boosters/dpo-2/booster.json" in files and len(files) == 5 + 3
    plain = study(evaluation=RAW["evaluation"] | {"refiners": ["original", "llm"]})
    assert "gains" not in comparisons(plain), "there is no booster"
    both = study(
        generators={name: RAW["generators"]["mini-t2v"] for name in ("one", "two")},
        evaluation=RAW["evaluation"] | {"refiners_of": {"two": ["original", "llm"]}},
    )
    assert {row.track for row in comparisons(both)["gains"].rows("tables")} == {"one"}
    assert comparisons(both)["gains"].rows("two/tables") == []


def test_texts_with_negative_prompts_are_no_boosters_and_stand_against_none() -> None:
    takes = RAW["generators"]["mini-t2v"] | {"sampling": RAW["generators"]["mini-t2v"]["sampling"]}
    refiners = RAW["refiners"] | {"fixed": {"kind": "negative", "of": "dpo-2", "text": "templates/negative_fixed.txt"}}
    takes["sampling"] = takes["sampling"] | {"guidance_scale": 4.0}
    compared = RAW["evaluation"] | {"refiners": ["original", "dpo-2", "fixed"]}
    made = study(generators={"mini-t2v": takes}, refiners=refiners, evaluation=compared)
    names = [row.name.rpartition("/")[2] for row in comparisons(made)["gains"].rows("tables")]
    assert names == ["original", "dpo-2"]


def test_the_table_of_a_run_pairs_each_booster_with_each_other_refiner(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table = comparisons(study())["gains"]
    arms = {"original": ORIGINAL, "llm": LLM, "dpo-2": DPO}
    monkeypatch.setattr(type(table), "arm", lambda self, row: arms.get(row.name.rpartition("/")[2], DPO))
    monkeypatch.setattr(
        type(table), "origin", lambda self, row, *_: {"track": "mini-t2v", "refiner": row.name.rpartition("/")[2]}
    )
    monkeypatch.setattr(type(table), "remarks", lambda self, origins: [f"{len(origins)} rows"])
    made = table.make(table.rows("tables"))
    assert len(made.table) == len(made.origins) == 3 * 2 and "5 rows" in made.notes
    pairs = [(one["refiner"]["refiner"], one["against"]["refiner"]) for one in made.origins]
    assert pairs[:3] == [("sft", "original"), ("sft", "llm"), ("dpo-1", "original")]
    assert pd.api.types.is_integer_dtype(made.table["videos"])
