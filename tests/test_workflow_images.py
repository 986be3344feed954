"""Image generators through the real Snakefile at smoke scale: three families of encoders, beside the miniature."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny_images
import tiny_judges
import yaml
from makers import workspace
from PIL import Image
from workspaces import snakemake, would_run

from promptavideo.reading import read_reader

pytestmark = pytest.mark.workflow

MAKERS = {
    "clip": (tiny_images.tiny_stable_diffusion, tiny_images.STABLE_DIFFUSION),
    "t5": (tiny_images.tiny_pixart, tiny_images.PIXART),
    "both": (tiny_images.tiny_flux, tiny_images.FLUX),
}
ENTRY = {
    "kind": "diffusers", "medium": "image", "device": "cpu", "dtype": "float32", "batch_size": 4,
    "seconds_per_video": 0.1,
}  # fmt: skip
STUDY: dict[str, Any] = {
    "shard_size": 4,  # a whole batch, of two styles here
    "models": {
        **{name: {"kind": "local", "path": f"pipelines/{name}"} for name in MAKERS},
        "hps": {"kind": "local", "path": "judges/hps"},
        "clip-h": {"kind": "local", "path": "judges/clip-h", "weights": False},
    },
    "judges": {
        "preference": {
            "kind": "hps",
            "model": "hps",
            "base": "clip-h",
            "role": "report",
            "device": "cpu",
            "batch_size": 4,
        }
    },
    "prompt_sets": {"heldout": {"file": "styled.csv", "style_column": "style", "count": 4}},
    "generators": {name: {**ENTRY, **entry, "model": name} for name, (_, entry) in MAKERS.items()},
    "evolution": {"rounds": 1},
    "preference": {"rounds": 1},
    "refiners": {"dpo-2": None},
    "evaluation": {
        "sets": {"heldout": {"styles": ["wall", "tiles"]}},
        "refiners": ["original", "llm", "sft", "dpo-1"],
        "refiners_of": {"mini-t2v": ["original"], "t5": ["original", "llm"], "both": ["original", "llm"]},
    },
}
LAYERS = ("images.yaml",)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the whole chain ran for one generator of images, and the evaluation for two more."""
    folder = workspace(tmp_path_factory.mktemp("images") / "run")
    for name, (make, _) in MAKERS.items():
        make(folder / "pipelines" / name)
    tiny_judges.hps(folder / "judges/hps")
    tiny_judges.clip(folder / "judges/clip-h", "gelu")
    styled = pd.read_csv(folder / "resources/prompts/miniature-styles.csv").groupby("style").head(2)
    styled[styled["style"].isin(STUDY["evaluation"]["sets"]["heldout"]["styles"])].to_csv(folder / "styled.csv")
    (folder / "images.yaml").write_text(yaml.safe_dump(STUDY))
    run = snakemake(folder, layers=LAYERS)
    assert run.returncode == 0, run.stderr[-3000:]
    return folder


def test_a_generator_of_images_goes_through_the_whole_chain(made: Path) -> None:
    results = made / "results"
    table = pd.read_csv(results / "tables/videoscore.csv")
    ours = table[table["generator"] == "clip"].set_index("refiner")
    assert list(ours.index) == ["original", "llm", "sft", "dpo-1"]
    assert ours[["VQ", "TC", "DD", "TVA", "FC"]].isna().all(axis=None), "VideoScore's stay away"
    assert ours["avg"].tolist() == pytest.approx(((ours["AES"] + ours["MPS"]) / 2).tolist())
    assert ours["gain"].notna().tolist() == [False, True, True, True]
    scores = pd.read_parquet(results / "clip/evaluation/heldout/dpo-1/rewards/scores.parquet")
    assert {"AES", "MPS", "AES_5", "MPS_5"} <= set(scores) and not {"VQ", "DD"} & set(scores)
    pairs = pd.read_parquet(results / "clip/pairs.parquet")
    assert len(pairs) and (results / "clip/boosters/dpo-1/booster.json").exists()
    assert "make images, which have no VQ, TC, DD, TVA, FC" in (results / "tables/videoscore.md").read_text()
    assert "videos" in table and table[table["generator"] == "mini-t2v"]["VQ"].notna().all()


def test_refiners_of_images_are_compared_by_hps_style_by_style(made: Path) -> None:
    table = pd.read_csv(made / "results/tables/hpsv2.csv", keep_default_na=False, na_values=[""])
    compared = {"both": ["original", "llm"], "clip": ["original", "llm", "sft", "dpo-1"], "t5": ["original", "llm"]}
    rows = [(name, refiner) for name, refiners in compared.items() for refiner in refiners]
    assert list(zip(table["generator"], table["refiner"], strict=True))[:-1] == rows
    assert table.iloc[-1].dropna().to_dict() == {"set": "paper", "refiner": "dpo-2"}
    ours = table.iloc[:-1]
    assert (ours["images"] == 8).all() and ours[["wall", "tiles", "mean", "words"]].notna().all(axis=None)
    seen = ours.groupby("generator")["tokens_seen"].max()
    assert 0 < seen["t5"] < 1 and ours["tokens_seen"].between(0, 1).all(), "of 8 tokens"
    assert ours["gain"].isna().tolist() == [refiner == "original" for _, refiner in rows]
    scores = pd.read_parquet(made / "results/clip/evaluation/heldout/llm/preference/scores.parquet")
    styles = pd.read_parquet(made / "results/prompt_sets/heldout.parquet").set_index("prompt_id")["style"]
    means = scores.groupby("prompt_id")["HPS"].mean().groupby(styles).mean()
    llm = ours[(ours["generator"] == "clip") & (ours["refiner"] == "llm")].iloc[0]
    assert llm[["wall", "tiles"]].tolist() == pytest.approx(means[["wall", "tiles"]].tolist())
    assert llm["mean"] == pytest.approx(means.mean())
    text = (made / "results/tables/hpsv2.md").read_text()
    assert "A style has 2 prompts here, and a group 1;" in text and "laptop-scale" in text
    html = (made / "results/report.html").read_text()
    assert "Refiners of images compared by HPS" in html
    assert html.count('<img src="data:image/jpeg;base64,') == 3, "one prompt of the generator with boosters"
    gains = pd.read_csv(made / "results/tables/gains.csv")
    assert set(gains["generator"]) == {"clip"} and list(gains["against"]) == ["original", "llm"] * 2
    origins = json.loads((made / "results/tables/hpsv2.provenance.json").read_text())
    assert origins[0]["scores"]["judges"]["preference"]["kind"] == "hps" and "reported" not in origins[0]
    assert origins[-1]["file"] == "resources/paper/hpsv2.csv"


def test_images_are_stored_as_png_and_what_an_encoder_cuts_is_counted(made: Path) -> None:
    for name in MAKERS:
        files = sorted((made / "store" / name / "images").glob("*/*.png"))
        assert files and not (made / "store" / name / "videos").exists()
        assert Image.open(files[0]).size == (32, 32)
    records = {
        name: json.loads((made / f"results/{name}/evaluation/heldout/llm/rewards/scores.provenance.json").read_text())
        for name in ("clip", "t5")
    }
    assert "cut" in json.dumps(records["t5"]) and records["t5"]["videos"] == 8


def test_what_is_written_for_a_generator_fits_its_encoder(made: Path) -> None:
    reader = read_reader(made / "results/clip/reader.json")
    assert reader and reader.limit == 77
    for batch in ("evolution/round-1", "dpo-1", "evaluation/heldout/sft", "evaluation/heldout/dpo-1"):
        texts = pd.read_parquet(made / f"results/clip/{batch}/prompts.parquet")
        # A text that stands in for no answer is the prompt itself, and is not cut.
        written = texts.loc[texts["refined"] != texts["prompt"], "refined"]
        assert len(written) and all(map(reader.fits, written)), batch
    log = (made / "logs/reader/clip.log").read_text()
    assert "Error" not in log
    assert not (made / "results/t5/reader.json").exists(), "nothing is written for it"


def test_a_lost_image_is_made_again_alone(made: Path) -> None:
    assert would_run(made, {"as it is": {}}, LAYERS)["as it is"] == {}
    manifests = sorted((made / "results/clip/evaluation/heldout/original/videos").glob("*.jsonl"))
    entries = [json.loads(line) for line in manifests[0].read_text().splitlines()]
    first = made / f"store/clip/images/{entries[0]['key'][:2]}/{entries[0]['key']}.png"
    before, others = first.read_bytes(), {path: path.stat().st_mtime_ns for path in first.parents[1].glob("*/*.png")}
    first.unlink()
    manifests[0].unlink()
    run = snakemake(made, str(manifests[0].relative_to(made)), layers=LAYERS)
    assert run.returncode == 0, run.stderr[-3000:]
    assert first.read_bytes() == before, "the same seed gives the same bytes"
    assert {path: path.stat().st_mtime_ns for path in others if path != first} == {
        path: time for path, time in others.items() if path != first
    }
