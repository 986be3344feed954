"""A booster of negative prompts through its steps, with a tiny model: pairs, SFT and candidates."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from makers import PAIRS as EVOLVED
from makers import ROOT, workspace

from promptavideo.config import check, resolve
from promptavideo.prompts import prompt_id
from promptavideo.reading import write_reader
from promptavideo.schemas import PAIRS, PROMPT_SET, PROMPTS, read_table, write_table
from promptavideo.settings import lay
from promptavideo.steps import batches, inputs, learning
from promptavideo.study import Study
from promptavideo.timing import read as read_timing

TEACHER = "mini-t2v-teacher"
LONG = {"max_words": 50}
"""A booster of random weights writes no short descriptors."""
SMALL: dict[str, Any] = {
    "boosters": {"negative-dpo": {"data": {"of": "mini-t2v/sft"}}},
    "booster": {"negative": {"sampling": {"max_prompt_tokens": 400}, "descriptors": LONG}},
    "refiners": {"boosted": {"booster": "mini-t2v/sft"}, "tuned": {"descriptors": LONG}},
    "preference": {"candidates": 3},
}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """The study at smoke scale, in a workspace with the pairs of an evolution."""
    folder = workspace(tmp_path / "run")
    monkeypatch.chdir(folder)
    files = ("config.yaml", "tests/smoke.yaml", "studies/negative_prompts.yaml")
    layers = {name: yaml.safe_load((ROOT / name).read_text(encoding="utf-8")) for name in files}
    raw = resolve(lay(layers | {"small": SMALL})[0], ROOT)
    found = Study(check(raw, ROOT))
    inputs.fetch_model(found, found.config.booster.base)
    evolved = EVOLVED.assign(prompt_id=[prompt_id(text) for text in EVOLVED["prompt"]], total=1.0)
    write_table(evolved, Path(found.layout.pairs("mini-t2v")), PAIRS)
    for prompts in ("preference", "heldout"):
        texts = [f"a {word} cone over {prompts}" for word in ("pink", "gray", "gold")]
        table = pd.DataFrame({"prompt_id": map(prompt_id, texts), "prompt": texts}, dtype="str")
        write_table(table, Path(found.layout.prompt_set(prompts)), PROMPT_SET)
    for record in found.readers(found.tracks):
        write_reader(Path(record), None)
    return found


def test_negative_prompts_are_learned_from_pairs_and_drawn_for_one_text(study: Study) -> None:
    layout = study.layout
    learning.train(study, "mini-t2v", "sft")
    learning.negatives(study, "mini-t2v")
    learned = read_table(Path(layout.negatives("mini-t2v")), PAIRS)
    assert set(learned["prompt"]) <= set(EVOLVED["refined"]) and len(learned) == len(EVOLVED)
    record = read_timing(Path(layout.negatives_record("mini-t2v")))
    assert record.items == len(EVOLVED) and record.circumstances["negatives"]["texts"] == len(EVOLVED)

    learning.train(study, "shared", "negative-sft")
    batches.candidates(study, TEACHER, "negative-dpo")
    files = study.files(study.batch(TEACHER, "negative-dpo"))
    drawn = read_table(Path(files.prompts), PROMPTS)
    assert (drawn.groupby("prompt_id")["refined"].nunique() == 1).all(), "the text stays"
    assert drawn["negative"].notna().any()
    assert read_timing(Path(files.writing)).circumstances["negatives"]["texts"] == len(drawn) == 9
