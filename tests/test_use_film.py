"""Filming what a booster wrote beside the original prompt, and choosing by the run's judges."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import yaml
from fakes import Critic, Painter
from makers import ROOT, diffusers_config
from tiny_pipelines import LTX_SAMPLING, tiny_ltx
from use_boosters import finished_run, study_at

from promptavideo.errors import InputError
from promptavideo.picture import read_image, write_image
from promptavideo.prompts import prompt_id
from promptavideo.seeds import video_seed
from promptavideo.use import film, source, workspace
from promptavideo.use.boost import Boosted, Variant
from promptavideo.use.main import main
from promptavideo.video import Clip, read_video

PROMPT = "a red ball moving left on a blue background"
FILES = ["original.mp4", "refined.mp4", "scores.json", "side-by-side.mp4"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that has a second generator, of another world."""
    folder = finished_run(tmp_path_factory.mktemp("film") / "run")
    tiny_ltx(folder / "tests/tiny-ltx")
    entry = diffusers_config(pipeline="LTXPipeline", model="tiny-ltx", sampling=LTX_SAMPLING).model_dump(mode="json")
    study_at(
        folder,
        {
            "models": {"tiny-ltx": {"kind": "local", "path": "tests/tiny-ltx"}},
            "generators": {"real-footage": {key: entry[key] for key in entry if entry[key] is not None}},
        },
    )
    return folder


@pytest.fixture
def in_run(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(run)
    return tmp_path / "out"


def boosted(*texts: str) -> Boosted:
    return Boosted(PROMPT, prompt_id(PROMPT), tuple(map(Variant, texts)))


def test_the_original_and_the_refined_prompt_are_filmed_with_one_seed_and_judged(
    in_run: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["boost", PROMPT, "--film", "mini-t2v", "--out", str(in_run), "--quiet"]) == 0
    said = capfd.readouterr()
    record = json.loads((in_run / "scores.json").read_text(encoding="utf-8"))
    assert sorted(path.name for path in in_run.iterdir()) == FILES
    assert record["seed"] == video_seed(1, prompt_id(PROMPT), 0) and record["kept"] == 0
    assert said.out.strip() == record["variants"][0]["text"] != PROMPT == record["original"]["text"]
    for one in (record["original"], *record["variants"]):
        assert [*one["scores"]] == ["VQ", "TC", "DD", "TVA", "FC", "AES", "MPS"] and one["total"] > 0
    assert "VQ" in said.err and "original" in said.err and f"videos and scores: {in_run}" in said.err
    one, both = read_video(in_run / "original.mp4"), read_video(in_run / "side-by-side.mp4")
    height, width = one.frames.shape[1:3]
    assert both.frames.shape[1:3] == (height, 2 * width + film.GAP) and min(height, width) >= 256
    assert len(both.frames) == len(one.frames) == 8 and both.fps == one.fps == 8


def test_held_out_judges_are_shown_beside_the_rewards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, own = finished_run(tmp_path / "run"), yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    (folder / "resources/witness").symlink_to(ROOT / "resources/witness")
    absent = {"kind": "hub", "repo_id": "nobody/nothing", "revision": "0" * 40}
    judge = own["judges"]["witness"]
    study_at(
        folder,
        {
            "models": {"witness": own["models"]["witness"], "absent": absent},
            "judges": {"witness": judge, "far": {"kind": "hps", "model": "absent", "base": "absent", "role": "report"}},
        },
    )
    monkeypatch.chdir(folder)
    assert main(["boost", PROMPT, "--film", "mini-t2v", "--out", str(tmp_path / "out")]) == 0
    said = capfd.readouterr().err
    assert "AGREE (held out)  REAL (held out)" in said and "far does not look at the videos" in said
    record = json.loads((tmp_path / "out/scores.json").read_text(encoding="utf-8"))
    for one in (record["original"], *record["variants"]):
        assert {*one["held_out"]} == {"AGREE", "REAL"} and not {*one["scores"]} & {*one["held_out"]}
        objective = one["scores"]
    assert record["original"]["total"] != record["variants"][0]["total"] and len(objective) == 7


def test_of_several_the_one_that_judges_like_best_is_kept(
    in_run: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(Path("results"))  # anywhere within the run
    assert main(["boost", PROMPT, "--film", "mini-t2v", "--best-of", "3", "--out", str(in_run), "--json"]) == 0
    said = capfd.readouterr()
    record = json.loads((in_run / "scores.json").read_text(encoding="utf-8"))
    totals = [one["total"] for one in record["variants"]]
    assert len(totals) == 3 and record["kept"] == totals.index(max(totals))
    assert json.loads(said.out) == record | {"folder": str(in_run)}
    assert f"refined {record['kept'] + 1} (kept)" in said.err
    assert main(["boost", PROMPT, "-n", "3"]) == 0
    texts = [one["text"] for one in record["variants"]]
    assert capfd.readouterr().out.splitlines() == texts, "as without filming"


def test_the_folder_has_no_word_of_the_prompt(
    run: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run)
    assert main(["boost", "../../etc/passwd; rm -rf ball", "--film", "mini-t2v"]) == 0
    (folder,) = (run / "boosted").iterdir()
    assert folder.name.startswith("mini-t2v-p") and sorted(path.name for path in folder.iterdir()) == FILES


def test_a_generator_that_the_judges_do_not_understand_has_no_scores(
    in_run: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["boost", PROMPT, "--film", "real-footage", "--out", str(in_run)]) == 0
    said = capfd.readouterr()
    words = "the run's judges (pixels) understand the miniature's world only, and real-footage films another, so there"
    assert words in said.err and "total" not in said.err
    record = json.loads((in_run / "scores.json").read_text(encoding="utf-8"))
    assert record["unjudged"].startswith(words) and record["original"]["scores"] is None
    assert sorted(path.name for path in in_run.iterdir()) == FILES
    assert main(["boost", PROMPT, "--film", "real-footage", "--best-of", "2"]) == 1
    assert "--best-of: nobody can choose" in capfd.readouterr().err


def test_what_a_run_filmed_is_not_filmed_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, painter = workspace.study_in(run), Painter()
    monkeypatch.setattr(type(study.config.generators["mini-t2v"]), "load", lambda *_: painter)
    monkeypatch.setattr("promptavideo.judges.load_judges", lambda *_: {"critic": Critic()})
    texts = boosted("a vivid red ball", "a red ball, slow")
    first = film.Studio(study, "mini-t2v").look(texts, 1)
    assert len(painter.filmed) == 3 and {shot.seed for shot in painter.filmed} == {first.seed}
    assert film.Studio(study, "mini-t2v").look(texts, 1) == first and len(painter.filmed) == 3
    assert film.Studio(study, "mini-t2v").look(texts, 2).seed != first.seed
    assert all(one.video.is_absolute() and one.video.is_file() for one in (first.original, *first.refined))


def test_a_text_that_is_refused_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, painter = workspace.study_in(run), Painter(refused=["not this"])
    monkeypatch.setattr(type(study.config.generators["mini-t2v"]), "load", lambda *_: painter)
    with pytest.raises(InputError, match=r"gives no videos of 1 texts.*\n.*: not this"):
        film.Studio(study, "mini-t2v").look(boosted("not this"), 3)


def test_negative_prompts_go_to_the_generator(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, painter = workspace.study_in(run), Painter()
    painter.takes_negative, painter.negative_prompt = True, ""
    monkeypatch.setattr(type(study.config.generators["mini-t2v"]), "load", lambda *_: painter)
    monkeypatch.setattr("promptavideo.judges.load_judges", lambda *_: {"critic": Critic()})
    one = Boosted(PROMPT, prompt_id(PROMPT), (Variant("a ball at night", "blurry, dim"),))
    look = film.Studio(study, "mini-t2v").look(one, 5)
    assert [(shot.text, shot.negative) for shot in painter.filmed] == [
        (PROMPT, None),
        ("a ball at night", "blurry, dim"),
    ]
    assert film.as_record(look)["variants"][0]["negative"] == "blurry, dim"


def test_images_are_shown_side_by_side_too(tmp_path: Path) -> None:
    shown = []
    for place, value in enumerate((50, 200)):
        write_image(Clip(np.full((1, 32, 32, 3), value, np.uint8), 1.0), tmp_path / f"{place}.png")
        shown.append(film.Shown(Variant(f"text {place}"), tmp_path / f"{place}.png", None, None, {}))
    look = film.Look("painter", "image", boosted("text 1"), 7, shown[0], (shown[1],), "nobody can")
    folder = film.write(look, tmp_path / "out")
    assert sorted(path.name for path in folder.iterdir()) == [
        "original.jpg", "refined.jpg", "scores.json", "side-by-side.jpg",
    ]  # fmt: skip
    (both,) = read_image(folder / "side-by-side.jpg").frames
    assert both.shape == (256, 2 * 256 + film.GAP, 3) and abs(int(both[9, 9, 0]) - 50) < 4 < int(both[9, 500, 0]) - 190
    assert film.lines(look) == []


def test_what_a_generator_reads_bounds_texts(run: Path) -> None:
    study = workspace.study_in(run)
    fits = film.reads(study, "real-footage")
    assert fits("a red ball") and not fits("a red ball " * 20), "max_sequence_length: 8"
    fits = film.reads(study, "mini-t2v")
    assert fits("word " * 100) and not fits("word " * 140)


def test_a_booster_of_elsewhere_films_with_the_run_of_this_folder(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = source.find(str(run / "results/mini-t2v/boosters/sft"))
    alone = source.Source(found.name, found.chain, found.instruction, found.settings, 1, {})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="generators and judges are those of a run, and there is none around it"):
        source.study_for(alone)
    monkeypatch.chdir(run / "results")
    with caplog.at_level(logging.INFO):
        assert source.study_for(alone).root == run.resolve()
