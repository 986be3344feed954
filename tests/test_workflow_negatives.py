"""The study of negative prompts, through the real Snakefile at smoke scale."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import workspaces
import yaml
from makers import ROOT, shas
from workspaces import snakemake, would_run

from promptavideo.provenance import origin

pytestmark = pytest.mark.workflow

OVERLAY: dict[str, Any] = yaml.safe_load((ROOT / "studies/negative_prompts.yaml").read_text(encoding="utf-8"))
TEACHER = "mini-t2v-teacher"
SMALL: dict[str, Any] = {
    # A judge that only reports, which the table does not read.
    "judges": {"fidelity": {"kind": "fidelity", "model": "minilm-l6", "max_tokens": 64, "role": "report"}},
    # The default miniature's weights: these tests have no others.
    "models": {TEACHER: {"weights": "resources/miniature"}},
    "generators": {TEACHER: {"sampling": {"num_inference_steps": 2}}},
    "refiners": {"boosted": {"booster": "mini-t2v/sft"}},
    "evaluation": {"refiners_of": {TEACHER: ["original", "boosted", "fixed", "icl"]}},
}
LAYERS = ("study.yaml", "small.yaml")
TABLE = "results/tables/negative_prompts.csv"


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the study has run, after the run of smoke.yaml."""
    folder = workspaces.finished(tmp_path_factory, "negatives")
    for name, settings in zip(LAYERS, (OVERLAY, SMALL), strict=True):
        (folder / name).write_text(yaml.safe_dump(settings))
    run = snakemake(folder, "negative_prompts", layers=LAYERS)
    assert run.returncode == 0, run.stderr[-3000:]
    return folder


def test_the_arms_film_the_same_texts_with_their_own_negative_prompts(studied: Path) -> None:
    table = pd.read_csv(studied / TABLE)
    ours = table[table["set"] == "heldout"].set_index("negative")
    arms = [name for name in SMALL["evaluation"]["refiners_of"][TEACHER] if name not in ("original", "boosted")]
    assert list(ours.index) == ["none", *arms] and set(ours["generator"]) == {TEACHER}
    assert (ours["videos"] == 6).all() and ours["avg"].between(0, 5).all()
    assert ours["gain"].isna().tolist() == [True, *[False] * len(arms)]
    assert ours.loc["none", "words"] == 0 and (ours.loc[arms, "words"] > 0).all()
    assert len(table[table["set"] == "paper"]) == 4
    folder = studied / f"results/{TEACHER}/evaluation/heldout"
    texts = {name: pd.read_parquet(folder / name / "prompts.parquet") for name in ("boosted", *arms)}
    for name in arms:
        pd.testing.assert_frame_equal(texts[name].drop(columns="negative"), texts["boosted"].drop(columns="negative"))
        assert texts[name]["negative"].notna().any()
        assert set(shas(folder / name).values()).isdisjoint(shas(folder / "boosted").values()), "negatives show"
        record = origin(folder / name / "rewards/scores.parquet")
        assert record["texts"]["of"]["booster"]["name"] == "mini-t2v/sft"
        assert record["negatives"]["texts"] == 3
    assert texts["boosted"]["negative"].isna().all() and texts["fixed"]["negative"].nunique() == 1
    rows = json.loads((studied / TABLE).with_suffix(".provenance.json").read_text())
    assert len(rows) == len(table) and rows[-1]["source"].endswith("Table 10")
    assert "laptop-scale" in (studied / TABLE).with_suffix(".md").read_text()


def test_a_change_of_negative_prompts_films_its_arm_alone(studied: Path) -> None:
    (studied / "other.txt").write_text("murky darkness, faded")
    edits = {
        "as it is": {},
        "fixed": {"refiners": {"fixed": {"text": "other.txt"}}},
        "read": {"refiners": {"icl": {"descriptors": {"max_descriptors": 1}}}},
    }
    found = would_run(studied, edits, LAYERS, "negative_prompts")
    assert found["as it is"] == {}
    one = {"refine": 1, "film": 1, "score": 1, "gather": 1, "table": 1, "negative_prompts": 1}
    assert found["fixed"] == one and found["read"] == one


def test_a_generator_without_guidance_is_refused_before_the_run(studied: Path) -> None:
    (studied / "off.yaml").write_text(yaml.safe_dump({"generators": {TEACHER: {"sampling": {"guidance_scale": 1.0}}}}))
    run = snakemake(studied, "-n", "negative_prompts", layers=(*LAYERS, "off.yaml"))
    said = run.stdout + run.stderr
    assert run.returncode != 0 and "takes no negative prompts" in said
    assert "guidance_scale, or true_cfg_scale, over 1" in said


def test_the_default_run_has_no_such_table(studied: Path) -> None:
    run = snakemake(studied, "-n", "negative_prompts")
    said = run.stdout + run.stderr
    assert run.returncode != 0 and "there is no target 'negative_prompts'; known are mini-t2v" in said
