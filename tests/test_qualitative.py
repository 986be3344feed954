"""The figure of videos for a paper: which prompts stand for a run, and what is said of that."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from makers import RAW, ROOT, changed, evaluated, message
from PIL import Image

from promptavideo.config import check
from promptavideo.errors import InputError, ScoreError
from promptavideo.prompts import prompt_id
from promptavideo.qualitative import Choice, Gain, QualitativeConfig, caption, choose, gain_of
from promptavideo.results import store_of
from promptavideo.steps import pictures
from promptavideo.store import read_manifest
from promptavideo.study import Study
from promptavideo.tables import PAPER_COLUMNS, Arm

HOSTILE = "<script> $x^2$ $\\frac{a}{0}$ | 100% \\input{x} $ \u7ea2 \x07a\u202eb"
PROMPTS = [HOSTILE, *(f"a {colour} ball rolls" for colour in ("red", "blue", "green", "white", "black", "grey"))]
GAINS = dict(zip(PROMPTS, (0.5, 2.0, 0.25, 0.6, 0.35, -1.0, 1.5), strict=True))  # the median is 0.5, the best 2.0


def gain(values: Mapping[str, float]) -> Gain:
    return Gain("dpo-2", "original", pd.Series(dict(values)))


def test_the_median_comes_first_and_the_best_last() -> None:
    values = {"a": 0.0, "b": 5.0, "c": 0.75, "d": 0.25, "e": 0.5}
    assert gain(values).nearest_median(1) == ["e"] and gain(values).median == 0.5
    assert gain(values).nearest_median(3) == ["e", "d", "c"]
    assert gain(values).nearest_median(9) == ["e", "d", "c", "a", "b"], "no more than there are"
    assert gain({"a": 1.0, "b": 2.0}).nearest_median(1) == ["a"], "of two the lower one"
    equal = dict.fromkeys("edcba", 1.0)
    assert gain(equal).nearest_median(1) == ["c"], "the middle one of equal ones, by id"
    shuffled = pd.Series(values).sample(frac=1, random_state=1)
    assert Gain("x", "y", shuffled).nearest_median(3) == ["e", "d", "c"]


def test_the_choice_is_said_in_words() -> None:
    prompts = {name: f"prompt {name}" for name in "abc"}
    one = choose(QualitativeConfig(count=1), prompts, gain({"a": 1.0, "b": 3.0, "c": 2.0}))
    assert one == Choice(
        ["c"],
        "The prompt is the one on which the gain of dpo-2 over original in avg is nearest to the median of all 3 "
        "prompts (+2.00): typical, not the best.",
    )
    assert choose(QualitativeConfig(), prompts, None) == Choice(
        ["a", "b", "c"], "The prompts are the first by their ids."
    )
    named = choose(QualitativeConfig(prompts=["  Prompt  B. ", "a", "b"]), prompts, gain({"a": 1.0}))
    assert named.prompt_ids == ["b", "a"] and "chosen by name (qualitative.prompts" in named.said
    with pytest.raises(InputError, match=r"qualitative\.prompts: 'else' is no prompt .*its 3 prompts"):
        choose(QualitativeConfig(prompts=["a", "else"]), prompts, None)
    said = caption("mini on test", 5, one, 2, "video")
    assert said.startswith("mini on test: 5 evenly spaced frames") and "Of 2 videos a prompt, the first" in said
    assert caption("t2i on test", 5, one, 1, "image").startswith("t2i on test: Images, beside the text")


def test_gains_are_paired_differences_of_avg() -> None:
    def arm(refiner: str, values: list[float]) -> Arm:
        rows = {"prompt_id": ["a", "a", "b", "b"], "candidate": 0, "replicate": [0, 1, 0, 1], "refined": "text"}
        return Arm("g", "s", refiner, pd.DataFrame(rows | {metric.five: values for metric in PAPER_COLUMNS.objective}))

    found = gain_of(arm("dpo-2", [1.0, 2.0, 3.0, 4.0]), arm("original", [1.0, 1.0, 1.0, 1.0]), PAPER_COLUMNS)
    assert (found.refiner, found.over, found.by_prompt.to_dict()) == ("dpo-2", "original", {"a": 0.5, "b": 2.5})


def study(**sections: Any) -> Study:
    """The laptop's run on one video a prompt."""
    sets = {"heldout": {"prompts": "heldout", "replicates": 1}}
    evaluation = RAW["evaluation"] | {"sets": sets}
    raw = changed("seed", 1) | {"evaluation": evaluation, "vbench": {}} | sections
    return Study(check(raw, ROOT), ROOT)


def filled(made: Study, gains: Mapping[str, float] = GAINS) -> None:
    """What the figure reads, in the current folder."""
    for batch in {*made.qualitative.values(), *(made.ranked or ())}:
        name = batch.name.rpartition("/")[2]
        added = {"dpo-2": 1.0, "sft": 0.5}.get(name, 0.0)
        texts = {prompt: prompt if name == "original" else f"{prompt}, by {name}" for prompt in gains}
        evaluated(made, batch, {one: (texts[one], 2.0 + added * value) for one, value in gains.items()})


def drawn(folder: Path, made: Study) -> tuple[list[str], str]:
    """The prompts of the figure by what is written beside it, and its caption."""
    pictures.qualitative(made)
    for suffix, magic in ((".png", b"\x89PNG"), (".pdf", b"%PDF")):
        assert (folder / f"results/figures/qualitative{suffix}").read_bytes().startswith(magic)
    said, *blocks = (folder / "results/figures/qualitative.txt").read_text().split("\n\n")
    return [re.findall(r"\((p[0-9a-f]{12})[,)]", block)[0] for block in blocks], said


def test_the_figure_shows_the_prompts_of_the_median_gain_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = study()
    assert list(made.qualitative) == ["original", "llm", "sft", "dpo-2"]
    filled(made)
    shown, said = drawn(tmp_path, made)
    near = [HOSTILE, "a green ball rolls", "a white ball rolls"]
    assert shown == [prompt_id(one) for one in near], "0.5, then 0.6 and 0.35; 2.0 is the best"
    assert "gain of dpo-2 over original in avg is nearest to the median of all 7 prompts (+0.50)" in said
    assert "laptop-scale numbers" in said and "not comparable" in said
    whole = (tmp_path / "results/figures/qualitative.txt").read_text()
    assert "\x07" not in whole and "\u202e" not in whole and "100% \\input{x} $ \u7ea2 ab, by dpo-2" in whole
    with Image.open(tmp_path / "results/figures/qualitative.png") as image:
        assert image.width == 1400, "seven inches"
        pixels = np.asarray(image.convert("RGB"))
    assert all((edge == 255).all() for edge in (pixels[:3], pixels[-3:], pixels[:, :3], pixels[:, -3:]))


def test_the_same_videos_give_the_same_bytes_and_text_stays_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = study(qualitative={"count": 1, "frames": 2})
    filled(made)
    files = [tmp_path / f"results/figures/qualitative{suffix}" for suffix in (".png", ".pdf", ".txt")]
    pictures.qualitative(made)
    before = [path.read_bytes() for path in files]
    pictures.qualitative(made)
    assert [path.read_bytes() for path in files] == before
    pdf = before[1]
    assert b"/CIDFontType2" in pdf and b"/Type3" not in pdf, "TrueType, as journals want it"
    assert pdf.count(b"/Subtype /Image") == 4 * 2
    assert b"CreationDate" not in pdf and b"matplotlib" not in pdf.lower()


def test_prompts_that_somebody_names_are_said_to_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = study(qualitative={"prompts": ["a red ball rolls"], "refiners": ["dpo-2", "original"]})
    assert list(made.qualitative) == ["dpo-2", "original"]
    filled(made)
    shown, said = drawn(tmp_path, made)
    assert shown == [prompt_id("a red ball rolls")] and "chosen by name" in said and "median" not in said


def test_without_boosters_another_refiner_ranks_and_originals_alone_are_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rewritten = study(evaluation=RAW["evaluation"] | {"refiners": ["original", "llm"]})
    assert list(rewritten.qualitative) == ["original", "llm"] and rewritten.ranked
    assert rewritten.ranked[0].name == "evaluation/heldout/llm" and rewritten.played("mini-t2v") == {}
    alone = study(evaluation=RAW["evaluation"] | {"refiners": ["original"]})
    assert list(alone.qualitative) == ["original"] and alone.ranked is None
    filled(alone)
    shown, said = drawn(tmp_path, alone)
    assert shown == sorted(map(prompt_id, GAINS))[:3] and "first by their ids" in said and "laptop" not in said


def test_a_lost_video_is_named_and_its_manifest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = study()
    filled(made)
    manifest = Path(made.manifests(made.qualitative["llm"])[0])
    entry = next(one for one in read_manifest(manifest) if one.prompt_id == prompt_id(HOSTILE))
    store_of(made, "mini-t2v").video(entry.key).unlink()
    with pytest.raises(ScoreError, match=f"the video is gone.*{entry.prompt_id}"):
        pictures.qualitative(made)
    assert not manifest.exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"prompts": "best"}, "qualitative.prompts: "),
        ({"prompts": []}, "qualitative.prompts: "),
        ({"frames": 0}, "qualitative.frames: "),
        ({"refiners": ["vpo"]}, "qualitative.refiners: there is no 'vpo'"),
        ({"refiners": ["original", "original"]}, "qualitative.refiners: 'original' is listed more than once"),
        ({"track": "sora"}, "qualitative.track: there is no 'sora'; known are mini-t2v"),
        ({"set": "vbench"}, "qualitative.set: the rewards score no set 'vbench' of mini-t2v; known are heldout"),
    ],
)
def test_what_cannot_be_shown_is_refused(given: dict[str, Any], told: str) -> None:
    assert told in message(changed("qualitative", given))


def test_a_refiner_that_no_table_needs_is_refused() -> None:
    raw = changed("qualitative", {"refiners": ["original", "dpo-1"]})
    raw["evaluation"] = raw["evaluation"] | {"refiners": ["original", "llm", "dpo-2"]}
    assert "qualitative.refiners: mini-t2v is not compared by 'dpo-1', but by original, llm, dpo-2" in message(raw)
