"""The study of transfer, through the real Snakefile at smoke scale: two generators, one booster of both."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from makers import ROOT, shas, workspace
from workspaces import snakemake, would_run

pytestmark = pytest.mark.workflow

OVERLAY: dict[str, Any] = yaml.safe_load((ROOT / "studies/transfer.yaml").read_text(encoding="utf-8"))
CREW = "mini-t2v-crew"
SMALL: dict[str, Any] = {
    # A judge that only reports, which the table does not read.
    "judges": {"fidelity": {"kind": "fidelity", "model": "minilm-l6", "max_tokens": 64, "role": "report"}},
    "evolution": {"rounds": 1},
    "preference": {"rounds": 1},
    "boosters": {"universal-dpo-2": None},
    "refiners": {
        **dict.fromkeys(("dpo-1", "dpo-2", "universal-dpo-2")),
        "plain-dpo-2": {"booster": "mini-t2v/sft"},
        "crew-dpo-2": {"booster": "mini-t2v-crew/sft"},
    },
    "evaluation": {
        "refiners": ["original", "sft"],
        "refiners_of": {
            "mini-t2v": ["original", "llm", "sft", "crew-dpo-2", "universal-sft", "universal-dpo-1"],
            CREW: ["original", "sft", "plain-dpo-2", "universal-sft", "universal-dpo-1"],
        },
    },
}
LAYERS = ("study.yaml", "small.yaml")
BOOSTERS = ["mini-t2v/sft", "mini-t2v-crew/sft", "universal-sft", "universal-dpo-1"]


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the study has run."""
    folder = workspace(tmp_path_factory.mktemp("transfer") / "run")
    (folder / "resources/miniature-crew").symlink_to(ROOT / "resources/miniature-crew")
    for name, settings in zip(LAYERS, (OVERLAY, SMALL), strict=True):
        (folder / name).write_text(yaml.safe_dump(settings))
    run = snakemake(folder, "transfer", layers=LAYERS)
    assert run.returncode == 0, run.stderr[-3000:]
    return folder


def test_every_booster_is_filmed_by_both_generators(studied: Path) -> None:
    table = pd.read_csv(studied / "results/tables/transfer.csv").set_index("booster")
    assert list(table.index) == BOOSTERS
    assert table["learned_from"].tolist() == ["mini-t2v", CREW, *["mini-t2v, mini-t2v-crew"] * 2]
    assert (table["videos"] == 12).all()
    for track in ("mini-t2v", CREW):
        assert table[[f"{track}_gain", f"{track}_gain_ci_low", f"{track}_p_value"]].notna().all(axis=None)
        assert table[f"{track}_to_own"].isna().tolist() == [name == f"{track}/sft" for name in BOOSTERS]
    rows = json.loads((studied / "results/tables/transfer.provenance.json").read_text())
    assert [sorted(row["filmed_by"]) for row in rows] == [["mini-t2v", CREW]] * 4
    assert rows[0]["filmed_by"][CREW]["booster"] == rows[0]["filmed_by"]["mini-t2v"]["booster"]
    assert "laptop-scale" in (studied / "results/tables/transfer.md").read_text()
    assert (studied / "results/figures/transfer.png").stat().st_size > 10_000


def test_a_boosters_texts_are_the_same_for_both_and_their_videos_are_not(studied: Path) -> None:
    own = studied / "results/mini-t2v/evaluation/heldout/sft"
    foreign = studied / f"results/{CREW}/evaluation/heldout/plain-dpo-2"
    texts = [pd.read_parquet(folder / "prompts.parquet")["refined"].tolist() for folder in (own, foreign)]
    assert texts[0] == texts[1]
    assert set(shas(own).values()).isdisjoint(shas(foreign).values())


def test_a_universal_booster_learns_from_both(studied: Path) -> None:
    card = json.loads((studied / "results/shared/boosters/universal-sft/booster.json").read_text())
    pairs = [len(pd.read_parquet(studied / f"results/{track}/pairs.parquet")) for track in ("mini-t2v", CREW)]
    assert card["examples"] == sum(pairs)


def test_another_operator_of_one_generator_leaves_what_the_other_learned(studied: Path) -> None:
    edit = {"evolution": {"operators": {CREW: "recombine"}}}
    found = would_run(studied, {"as it is": {}, "operator": edit}, LAYERS, "transfer")
    assert found["as it is"] == {}
    # Its own booster and the universal ones are trained again; what the other generator evolved stays.
    assert found["operator"]["propose"] == 1 and found["operator"]["pairs"] == 1 and found["operator"]["train"] == 3


def test_the_report_shows_the_table_and_its_heat_map(studied: Path) -> None:
    run = snakemake(studied, "results/report.html", layers=LAYERS)
    assert run.returncode == 0, run.stderr[-3000:]
    html = (studied / "results/report.html").read_text()
    assert "Boosters on generators that they did and did not learn from" in html and "Framed cells" in html
    assert not (studied / f"results/{CREW}/tables/transfer.csv").exists()


def test_the_default_run_has_no_such_table(studied: Path) -> None:
    run = snakemake(studied, "-n", "transfer")
    assert run.returncode != 0 and "there is no target 'transfer'; known are mini-t2v" in run.stdout + run.stderr
