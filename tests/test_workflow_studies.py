"""Studies by configuration alone, through the real Snakefile at smoke scale: others' kinds, and shared boosters."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from makers import ROOT, shas, workspace

from promptavideo.provenance import origin
from promptavideo.records import read_record

pytestmark = pytest.mark.workflow

PACKAGE = """
import hashlib
from typing import ClassVar, Literal

import numpy

from promptavideo.generators.base import Generator, GeneratorEntry
from promptavideo.judges.base import Judge, JudgeEntry
from promptavideo.metrics import Metric
from promptavideo.refiners.base import Refiner, RefinerEntry
from promptavideo.video import Clip


class GlowConfig(JudgeEntry):
    METRICS: ClassVar = (Metric("GLOW", 0.0, 255.0),)

    kind: Literal["glow"]

    def load(self, folders):
        return Glow()


class Glow(Judge):
    metrics = ("GLOW",)

    def score(self, clips, prompts):
        return [{"GLOW": float(clip.frames.mean())} for clip in clips]


class SuffixConfig(RefinerEntry):
    kind: Literal["suffix"]
    suffix: str

    def load(self, name, track, study):
        return Suffix(self.suffix)


class Suffix(Refiner):
    def __init__(self, suffix):
        self._suffix = suffix

    def refine(self, prompt_ids, prompts):
        return [prompt + self._suffix for prompt in prompts]


class NoiseConfig(GeneratorEntry):
    kind: Literal["noise"]
    side: int
    seconds_per_video: float = 0.1
    batch_size: ClassVar = 2
    threads: ClassVar = 1
    takes_negative: ClassVar = False
    negative_prompt: ClassVar = None

    def load(self, name, folders, work):
        return Noise(self)


class Noise(Generator):
    batch_size = 2

    def __init__(self, config):
        self._config = config

    def identity(self):
        return self._config.settings()

    def film(self, shots):
        for shot in shots:
            digest = hashlib.sha256(f"{shot.text} {shot.seed}".encode()).digest()
            noise = numpy.random.default_rng(list(digest))
            light = 255 if "bright" in shot.text else 128
            yield Clip(noise.integers(0, light, (8, self._config.side, self._config.side, 3), "uint8"), fps=8)
"""
ENTRY_POINTS = """
[promptavideo.judges]
glow = newcomer:GlowConfig

[promptavideo.refiners]
suffix = newcomer:SuffixConfig

[promptavideo.generators]
noise = newcomer:NoiseConfig
"""


def snakemake(folder: Path, *arguments: str, more: dict[str, Any], **variables: str) -> str:
    """What a run says at smoke scale, with `more` over it."""
    (folder / "more.yaml").write_text(yaml.safe_dump(more))
    files = ["config.yaml", str(ROOT / "tests/smoke.yaml"), "more.yaml"]
    run = subprocess.run(
        ["snakemake", "--quiet", "rules", *arguments, "--configfile", *files],
        cwd=folder, env=os.environ | variables, capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout + run.stderr


def jobs(said: str) -> dict[str, int]:
    """How many jobs of each rule a dry run named."""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+)\s+(\d+)$", said, re.MULTILINE)}


def by_hand(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A script outside Snakemake."""
    environment = {name: value for name, value in os.environ.items() if name != "PROMPTAVIDEO_CONFIG"}
    return subprocess.run(
        ["python", *words],
        cwd=folder,
        env=environment | {"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an installed package that adds a judge, a refiner and a generator."""
    folder = tmp_path_factory.mktemp("packages")
    (folder / "newcomer.py").write_text(PACKAGE)
    (folder / "newcomer-1.0.dist-info").mkdir()
    (folder / "newcomer-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: newcomer\nVersion: 1.0\n")
    (folder / "newcomer-1.0.dist-info/entry_points.txt").write_text(ENTRY_POINTS)
    return folder


def test_kinds_of_another_package_reach_the_table_by_configuration(newcomer: Path, tmp_path: Path) -> None:
    folder = workspace(tmp_path / "run")
    settings = {
        "generators": {"mini-t2v": None, "noise": {"kind": "noise", "side": 32}},
        "judges": {"glow": {"kind": "glow", "role": "report"}},
        "refiners": {"bright": {"kind": "suffix", "suffix": ", bright"}},
        "evaluation": {"refiners": ["original", "bright"]},
    }
    target = "results/tables/videoscore.csv"
    snakemake(folder, "--cores", "2", target, more=settings, PYTHONPATH=str(newcomer))
    rows = pd.read_csv(folder / target).query("set == 'heldout'").set_index("refiner")
    assert list(rows.index) == ["original", "bright"] and list(rows["generator"]) == ["noise", "noise"]
    assert list(rows["videos"]) == [6, 6] and rows["avg"].between(0, 5).all()
    assert 50 < rows.loc["original", "GLOW"] < 80 and 110 < rows.loc["bright", "GLOW"] < 140
    assert rows.loc["bright", "GLOW_gain"] == pytest.approx(rows.loc["bright", "GLOW"] - rows.loc["original", "GLOW"])
    assert "Nobody selected by or trained on" in (folder / target).with_suffix(".md").read_text()
    batch = folder / "results/noise/evaluation/heldout/bright"
    assert origin(batch / "rewards/scores.parquet")["texts"]["refiner"] == {"kind": "suffix", "suffix": ", bright"}
    assert origin(batch / "glow/scores.parquet")["judges"] == {"glow": {"kind": "glow"}}
    assert "Nothing to be done" in snakemake(folder, "-n", target, more=settings, PYTHONPATH=str(newcomer))
    settings["refiners"]["bright"]["suffix"] = ", very bright"
    found = jobs(snakemake(folder, "-n", target, more=settings, PYTHONPATH=str(newcomer)))
    assert {rule: found[rule] for rule in ("refine", "film", "score", "gather")} == {
        "refine": 1, "film": 1, "score": found["gather"], "gather": found["score"]
    }  # fmt: skip


STUDY: dict[str, Any] = {
    "generators": {"other": {"like": "mini-t2v", "sampling": {"num_inference_steps": 3}}},
    "evolution": {"rounds": 1},
    "preference": {"rounds": 1},
    "boosters": {"dpo-1": None, "universal": {"trainer": "sft", "tracks": ["mini-t2v", "other"]}},
    "refiners": {
        "dpo-1": None,
        "dpo-2": None,
        "universal": {"kind": "booster", "booster": "universal"},
        "theirs": {"kind": "booster", "booster": "mini-t2v/sft"},
    },
    "evaluation": {
        "refiners": ["original", "sft", "universal"],
        "refiners_of": {"other": ["original", "universal", "theirs"]},
    },
}


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a booster of two generators, and one that serves a generator which it did not learn from."""
    folder = workspace(tmp_path_factory.mktemp("studied") / "run")
    snakemake(folder, "--cores", "2", more=STUDY)
    return folder


def test_a_booster_learns_from_two_generators_and_another_films_what_it_did_not_learn_from(studied: Path) -> None:
    table = pd.read_csv(studied / "results/tables/videoscore.csv").query("set == 'heldout'")
    assert list(table["generator"] + " " + table["refiner"]) == [
        "mini-t2v original", "mini-t2v sft", "mini-t2v universal", "other original", "other universal", "other theirs"
    ]  # fmt: skip
    assert (table["videos"] == 6).all() and table["avg"].between(0, 5).all()
    results = studied / "results"
    pairs = [len(pd.read_parquet(results / track / "pairs.parquet")) for track in ("mini-t2v", "other")]
    card = read_record(results / "shared/boosters/universal/booster.json", dict[str, Any], "card")
    assert card["examples"] == sum(pairs) and card["previous"] is None
    own = read_record(results / "mini-t2v/boosters/sft/booster.json", dict[str, Any], "card")
    assert own["examples"] == pairs[0]
    assert not (results / "mini-t2v/boosters/universal").exists() and not (results / "dpo-1").exists()

    one, two = (results / name for name in ("mini-t2v/evaluation/heldout", "other/evaluation/heldout"))
    for ours, theirs in (("sft", "theirs"), ("universal", "universal")):
        texts = [pd.read_parquet(folder / "prompts.parquet") for folder in (one / ours, two / theirs)]
        pd.testing.assert_frame_equal(*texts)
        assert set(shas(one / ours).values()).isdisjoint(shas(two / theirs).values()), "two generators, other videos"
    written = [origin(two / name / "rewards/scores.parquet")["texts"] for name in ("universal", "theirs")]
    assert [texts["booster"]["name"] for texts in written] == ["universal", "mini-t2v/sft"]
    rows = json.loads((results / "tables/videoscore.provenance.json").read_text())
    assert [row["booster"] and row["booster"]["data"] for row in rows[:6]] == [
        None, own["data"], card["data"], None, card["data"], own["data"]
    ]  # fmt: skip


def test_a_shared_booster_is_trained_again_alone_with_what_follows(studied: Path) -> None:
    assert "Nothing to be done" in snakemake(studied, "-n", more=STUDY)
    boosters = STUDY["boosters"] | {"universal": STUDY["boosters"]["universal"] | {"settings": {"epochs": 3}}}
    found = jobs(snakemake(studied, "-n", more=STUDY | {"boosters": boosters}))
    assert found["train"] == 1 and found["refine"] == found["film"] == 2
    assert not {"pairs", "propose"} & set(found)


def test_a_booster_ships_as_one_small_adapter_which_a_refiner_of_another_run_takes(studied: Path) -> None:
    shipped = "resources/retrained/booster/mini-t2v"
    snakemake(studied, "--cores", "2", shipped, more=STUDY)
    card = json.loads((studied / shipped / "booster.json").read_text())
    assert card["previous"] is None and card["compressed"]["rank"] == 24
    assert "| mini-t2v | heldout | 6 |" in (studied / shipped / "README.md").read_text()
    small = {
        "models": {"small": {"kind": "local", "path": shipped}},
        "refiners": {"small": {"kind": "adapter", "model": "small"}},
        "evaluation": {"also": ["small"]},
    }
    more = STUDY | {key: STUDY.get(key, {}) | value for key, value in small.items()}
    found = jobs(snakemake(studied, "-n", "results/tables/videoscore.csv", more=more))
    assert (found["refine"], found["film"], found["fetch"]) == (2, 2, 1)  # of two tracks
    batch = "results/mini-t2v/evaluation/heldout/small"
    snakemake(studied, "--cores", "2", f"{batch}/rewards/scores.parquet", more=more)
    texts = pd.read_parquet(studied / batch / "prompts.parquet")
    assert len(texts) == 6 and texts["refined"].str.len().gt(0).all()
    (studied / "resources/models/small/booster.json").write_text(json.dumps(card | {"base": "0" * 64}))
    failed = by_hand(studied, "scripts/refine.py", "mini-t2v", "evaluation/heldout/small")
    assert failed.returncode == 1 and "was trained over a base model of digest 0000000000000000" in failed.stderr


def test_a_step_is_done_again_by_hand(studied: Path) -> None:
    names = ["mini-t2v", "evaluation/heldout/original", "rewards", "0001-of-0001"]
    made = studied / "results/mini-t2v/evaluation/heldout/original/rewards/0001-of-0001.parquet"
    before = pd.read_parquet(made)
    made.unlink()
    done = by_hand(studied, "scripts/score.py", *names)
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(pd.read_parquet(made), before)
    for place, wrong, known in (
        (0, "mini", "there is no track 'mini'; known are mini-t2v, other"),
        (1, "evaluation/heldout", "mini-t2v has no batch 'evaluation/heldout'; known are evolution/round-0, "),
        (2, "pixels", "there are no judges 'pixels'; known are rewards"),
        (3, "0003", "'0003' is no shard; write the third of twelve as 0003-of-0012"),
    ):
        failed = by_hand(studied, "scripts/score.py", *names[:place], wrong, *names[place + 1 :])
        assert failed.returncode == 1 and known in failed.stderr
        assert "Traceback" not in failed.stderr


def test_a_step_by_hand_asks_for_a_run_where_none_was_started(tmp_path: Path) -> None:
    folder = workspace(tmp_path / "run")
    failed = by_hand(folder, "scripts/pairs.py", "mini-t2v")
    assert failed.returncode == 1 and "Traceback" not in failed.stderr
    assert ".snakemake/promptavideo/configs/started.json: there is no run's configuration" in failed.stderr


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("mini", "there is no target 'mini'; known are mini-t2v, "),
        ("results/mini/tables/videoscore.csv", "there is no track 'mini'; known are mini-t2v"),
        (
            "results/mini-t2v/evaluation/heldout/dpo-9/prompts.parquet",
            "mini-t2v has no such batch; known are evolution/",
        ),
        ("results/mini-t2v/boosters/dpo-9/booster.json", "there is no booster 'dpo-9'; known are sft, dpo-1, dpo-2"),
    ],
)
def test_an_unknown_target_is_answered_with_those_that_there_are(tmp_path: Path, target: str, told: str) -> None:
    folder = workspace(tmp_path / "run")
    run = subprocess.run(["snakemake", "-n", target], cwd=folder, capture_output=True, text=True, timeout=300)
    said = run.stdout + run.stderr
    assert run.returncode != 0 and said.count(told) == 1, said[-3000:]
    assert "Traceback" not in said and "MissingInputException" not in said


def test_no_line_of_a_plan_at_the_papers_scale_is_long(tmp_path: Path) -> None:
    folder = workspace(tmp_path / "run")
    run = subprocess.run(
        ["snakemake", "-n", "-p", "--configfile", "paper.yaml"], cwd=folder, capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr[-3000:]
    lines = (run.stdout + run.stderr).splitlines()
    commands = [line for line in lines if "python scripts/" in line]
    assert len(commands) > 1000
    longest = max(lines, key=len)
    assert len(longest) <= 300, longest
