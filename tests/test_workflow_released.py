"""What others released in place of what is made here, through the real Snakefile at smoke scale: pairs and boosters."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from makers import ROOT, workspace
from tiny import tiny_llama
from workspaces import merged, snakemake, would_run

from promptavideo.files import sha256
from promptavideo.provenance import origin
from promptavideo.records import read_record

pytestmark = pytest.mark.workflow

SCRIPT = 'TASK_PROMPT = """Make the prompt longer.\\nOriginal prompt:\\n"""\nraise SystemExit("it was run")\n'
HELD_OUT = (ROOT / "resources/prompts/miniature-heldout.txt").read_text(encoding="utf-8").splitlines()
TESTED = [line for line in HELD_OUT if line and not line.startswith("#")][:3]
PAIRS = [[f"a {colour} ball", f"A {colour} ball, vivid colors."] for colour in ("red", "blue", "green", "white")]
ROWS = [*PAIRS, [TESTED[0].upper(), "A text of a prompt that is tested on."], ["a red ball.", "Again."], ["", ""]]
LAYERS = ("released.yaml",)


def settings(folder: Path) -> dict[str, Any]:
    """A published list of test prompts, pairs, an instruction and a whole model, all at addresses of this machine."""
    files = {name: folder / name for name in ("tests.txt", "pairs.json", "script.py")}
    pins = {name: {"url": path.as_uri(), "sha256": sha256(path)} for name, path in files.items()}
    return {
        "models": {"theirs": {"kind": "local", "path": "theirs"}},
        "prompt_sources": {"tests": {"kind": "url", "drop_digits": False, **pins["tests.txt"]}},
        "prompt_sets": {"heldout": {"file": None, "first": None, "source": "tests", "count": 3}},
        "pair_sources": {"theirs": {"kind": "url", **pins["pairs.json"]}},
        "boosters": {"sft": {"data": {"pairs": "theirs"}}},
        "preference": {"rounds": 1},
        "refiners": {
            "dpo-2": None,
            "theirs": {
                "kind": "chat-model",
                "model": "theirs",
                "released": True,
                "instruction": {**pins["script.py"], "constant": "TASK_PROMPT", "then": "$prompt\nNew prompt:\n"},
                "threads": 1,
                "sampling": {"max_new_tokens": 12, "batch_size": 4, "max_prompt_tokens": 200},
            },
        },
        "evaluation": {"refiners": ["original", "sft", "dpo-1", "theirs"]},
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose SFT learned from released pairs, beside a released booster."""
    folder = workspace(tmp_path_factory.mktemp("released") / "run")
    tiny_llama(folder / "theirs", seed=1)
    (folder / "tests.txt").write_text("\n".join(TESTED))
    (folder / "pairs.json").write_text(json.dumps(ROWS))
    (folder / "script.py").write_text(SCRIPT)
    (folder / LAYERS[0]).write_text(yaml.safe_dump(settings(folder)))
    run = snakemake(folder, layers=LAYERS)
    assert run.returncode == 0, run.stderr[-3000:]
    return folder


def test_nothing_of_the_evolution_is_made(finished: Path) -> None:
    track = finished / "results/mini-t2v"
    assert not (track / "evolution").exists() and not (track / "pairs.parquet").exists()
    assert sorted(path.name for path in (track / "figures").iterdir()) == ["contact_sheet.png", "training.png"]
    report = (finished / "results/report.html").read_text(encoding="utf-8")
    assert "Training: mini-t2v" in report and "Evolution: mini-t2v" not in report
    assert (track / "dpo-1/triples.parquet").exists(), "preference data is made here"
    assert "Nothing to be done" in snakemake(finished, "-n", layers=LAYERS).stdout


def test_the_booster_learned_from_the_pairs_and_its_card_says_so(finished: Path) -> None:
    folder = finished / "results/mini-t2v/boosters/sft"
    card = read_record(folder / "booster.json", dict[str, Any], "card")
    assert card["examples"] == len(PAIRS)
    (said,) = card["released_pairs"]
    digest = f"sha256:{sha256(finished / 'pairs.json')}"
    assert said["name"] == "theirs" and said["files"] == {"pairs.json": digest} and said["rows"] == len(ROWS)
    text = (folder / "adapter/README.md").read_text(encoding="utf-8")
    assert "4 examples, released pairs of file://" in text and digest in text
    later = read_record(finished / "results/mini-t2v/boosters/dpo-1/booster.json", dict[str, Any], "card")
    assert "released_pairs" not in later and later["previous"] == "../sft"


def test_rows_that_were_left_out_are_named_in_record_and_log(finished: Path) -> None:
    record = json.loads((finished / "resources/pairs/theirs.json").read_text())
    assert record["dropped"] == {"empty": 1, "of a prompt that is tested on": 1, "repeated": 1}
    assert record["tested_on"] == {"heldout": [TESTED[0].upper()]}
    log = (finished / "logs/pair_source/theirs.log").read_text(encoding="utf-8")
    assert f"left out, since heldout tests on them: {TESTED[0].upper()}" in log and "repeated: pairs.json, row 6" in log


def test_the_released_booster_is_a_row_whose_record_says_released(finished: Path) -> None:
    table = pd.read_csv(finished / "results/tables/videoscore.csv").query("set == 'heldout'")
    assert list(table["refiner"]) == ["original", "sft", "dpo-1", "theirs"] and (table["videos"] == 6).all()
    batch = finished / "results/mini-t2v/evaluation/heldout/theirs"
    texts = pd.read_parquet(batch / "prompts.parquet")
    assert sorted(texts["prompt"].unique()) == sorted(TESTED) and (texts["refined"] != texts["prompt"]).all()
    said = origin(batch / "rewards/scores.parquet")
    assert said["texts"]["refiner"]["released"] is True
    assert said["texts"]["refiner"]["instruction"]["sha256"] == sha256(finished / "script.py")
    (writer,) = said["writers"]
    assert writer["name"] == "theirs" and len(writer["digest"]) == 64
    assert said["prompt_set"]["dataset"]["sha256"] == sha256(finished / "tests.txt")
    asked = (finished / "resources/instructions/theirs.txt").read_text(encoding="utf-8")
    assert asked == "Make the prompt longer.\nOriginal prompt:\n$prompt\nNew prompt:\n"


REFINED = {"refine": 1, "film": 1, "score": 1, "gather": 1, "gallery": 1, "table": 2, "report": 1}
TRAINED = {"train": 2, "candidates": 1, "triples": 1, "refine": 2, "film": 3, "score": 3, "gather": 3}
SHOWN = {"training_curves": 1, "contact_sheet": 1, "qualitative": 1, "gallery": 1, "table": 2, "report": 1}


def test_an_edit_reruns_what_rests_on_it(finished: Path) -> None:
    chat = {"refiners": {"theirs": {}}}
    edits: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
        "device": (merged(chat, {"refiners": {"theirs": {"device": "cpu", "threads": 2}}}), {}),
        "memory": ({"refiners": {"theirs": {"sampling": {"gpu_memory": 0.5}}}}, {}),
        "temperature": ({"refiners": {"theirs": {"sampling": {"temperature": 0.5}}}}, REFINED),
        "dtype": ({"refiners": {"theirs": {"dtype": "float32"}}}, REFINED),
        "released": ({"refiners": {"theirs": {"released": False}}}, REFINED),
        "model": ({"models": {"theirs": {"path": "elsewhere"}}}, REFINED | {"fetch": 1}),
        "instruction": (
            {"refiners": {"theirs": {"instruction": {"then": "$prompt"}}}}, REFINED | {"instruction": 1}
        ),
        "another instruction": ({"refiners": {"theirs": {"instruction": "templates/booster.txt"}}}, REFINED),
        "words": ({"pair_sources": {"theirs": {"max_words": 99}}}, TRAINED | SHOWN | {"pair_source": 1}),
        "digest": (
            {"pair_sources": {"theirs": {"sha256": "0" * 64}}}, TRAINED | SHOWN | {"pair_source": 1}
        ),
        "size": ({"pair_sources": {"theirs": {"max_bytes": 99}}}, TRAINED | SHOWN | {"pair_source": 1}),
        "as it is": ({}, {}),
    }  # fmt: skip
    found = would_run(finished, {name: overlay for name, (overlay, _) in edits.items()}, LAYERS)
    assert found == {name: expected for name, (_, expected) in edits.items()}


def test_the_evolution_comes_back_where_a_booster_wants_it(finished: Path) -> None:
    found = would_run(finished, {"evolved": {"boosters": {"sft": {"data": "evolution"}}}}, LAYERS)["evolved"]
    assert {rule: found.get(rule) for rule in ("propose", "pairs", "evolution_curve", "train")} == {
        "propose": 3, "pairs": 1, "evolution_curve": 1, "train": 2
    }  # fmt: skip
    assert "pair_source" not in found
