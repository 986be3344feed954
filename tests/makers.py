"""What several test modules make: workspaces, configurations, tables, clips, judges and trainings."""

import copy
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter
from tiny import tiny_llama
from tiny_pipelines import LTX_SAMPLING

from promptavideo import metrics, prompts, registry, schemas
from promptavideo.batches import Batch
from promptavideo.boosters.config import BoosterConfig, DpoSettings, LoraSettings, TrainSettings
from promptavideo.boosters.trainers import DpoConfig, SftConfig
from promptavideo.boosters.training import Run
from promptavideo.config import check
from promptavideo.errors import InputError
from promptavideo.files import sha256
from promptavideo.generators.diffusers_config import DiffusersConfig
from promptavideo.judges import load_judges
from promptavideo.judges.neural import NeuralJudge
from promptavideo.layout import REWARDS
from promptavideo.models import Manifest, check_model
from promptavideo.resampling import BootstrapConfig
from promptavideo.results import store_of
from promptavideo.store import Entry, read_manifest, write_manifest
from promptavideo.study import Study
from promptavideo.video import Clip

ROOT = Path(__file__).parents[1]
RAW = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
PAPER = ROOT / "resources" / "paper"
FAST = BootstrapConfig(resamples=499)
GONE = object()
LINKED = (
    *("Snakefile", "config.yaml", "paper.yaml", "released-boosters.yaml"),
    *("envs", "profiles", "promptavideo", "rules", "scripts", "templates"),
)
JUDGE: TypeAdapter[Any] = TypeAdapter(registry.union("judges"))
TO_FIVE = {metric.name: metric.to_five for metric in metrics.PAPER}
METRICS = tuple(TO_FIVE)
SCORES = schemas.scores(metrics.PAPER)
JUDGES: dict[str, dict[str, Any]] = {
    "videoscore": {"model": "videoscore", "dtype": "float32"},
    "aesthetic": {"model": "clip-l", "head": "head"},
    "mps": {"model": "mps", "base": "clip-h"},
    "hps": {"model": "hps", "base": "clip-h"},
}
LTX = {"pipeline": "LTXPipeline", "sampling": LTX_SAMPLING}
COLOURS = ("red", "blue", "green", "purple", "yellow", "white", "black", "orange")
PAIRS = pd.DataFrame(
    {
        "prompt_id": [f"p{place}" for place in range(8)],
        "prompt": [f"a {colour} ball" for colour in COLOURS],
        "refined": [f"{colour} ball, vivid colors, steady camera" for colour in COLOURS],
        "total": 1.0,
    }
)
TRIPLES = pd.DataFrame(
    {
        "prompt_id": PAIRS["prompt_id"],
        "prompt": PAIRS["prompt"],
        "chosen": PAIRS["refined"],
        "rejected": [f"{colour} ball, blurry" for colour in COLOURS],
        "chosen_total": 1.0,
        "rejected_total": 0.0,
    }
)
LORA = LoraSettings(r=4, alpha=8, dropout=0.1)
SFT = TrainSettings(
    epochs=2, batch_size=4, micro_batch_size=2, learning_rate=0.05, max_length=96, checkpoint_steps=1, lora=LORA
)
train_sft, train_dpo = SftConfig(trainer="sft").train, DpoConfig(trainer="dpo").train
DPO = DpoSettings(**SFT.model_dump(exclude={"lora"}), lora=LORA, beta=0.5)


def workspace(folder: Path) -> Path:
    """A folder in which the workflow can run: its code linked, its results and models its own."""
    folder.mkdir()
    for name in LINKED:
        (folder / name).symlink_to(ROOT / name)
    (folder / "resources").mkdir()
    for name in ("miniature", "paper", "prompts"):
        (folder / "resources" / name).symlink_to(ROOT / "resources" / name)
    (folder / "resources/vbench").mkdir()
    (folder / "resources/vbench/checkpoints.yaml").symlink_to(ROOT / "resources/vbench/checkpoints.yaml")
    tiny_llama(folder / "tests" / "tiny-llama")
    return folder


def shas(batch: Path) -> dict[tuple[str, int, int], str]:
    entries = [entry for path in batch.glob("videos/*.jsonl") for entry in read_manifest(path)]
    return {(entry.prompt_id, entry.candidate, entry.replicate): entry.sha256 for entry in entries}


def changed(path: str, value: object) -> dict[str, Any]:
    """The repository's configuration with one value (`/` parts the keys) replaced, added or taken out."""
    raw = copy.deepcopy(RAW)
    *parents, last = path.split("/")
    node = raw
    for part in parents:
        node = node[part]
    if value is GONE:
        del node[last]
    else:
        node[last] = value
    return raw


def message(raw: dict[str, Any], root: Path = ROOT) -> str:
    with pytest.raises(InputError) as caught:
        check(raw, root)
    return str(caught.value)


def make_scores(values: dict[tuple[str, int], dict[str, float]]) -> pd.DataFrame:
    """Scores from raw values by (prompt_id, replicate)."""
    rows = []
    for (prompt_id, replicate), raw in values.items():
        row = {"prompt_id": prompt_id, "prompt": f"prompt {prompt_id}", "candidate": 0, "refined": "text"}
        row |= {"negative": None, "replicate": replicate, "seed": 7, "key": f"{prompt_id}-{replicate}"}
        row |= {d: float(raw[d]) for d in METRICS}
        row |= {f"{d}_5": raw[d] * TO_FIVE[d] for d in METRICS}
        rows.append(row)
    return SCORES.validate(pd.DataFrame(rows))


def evaluated(study: Study, batch: Batch, found: Mapping[str, tuple[str, float]]) -> pd.DataFrame:
    """An evaluation as if it had run in the current folder: small videos of noise, and scores.

    Args:
        study: The run.
        batch: The evaluation.
        found: By prompt the text that was filmed, and the value of all metrics on the 0-5 scale.
    """
    still = study.medium(batch.track) == "image"
    store, metrics = store_of(study, batch.track), study.metrics(REWARDS, batch.track)
    rows, entries = [], []
    for prompt, (text, five) in found.items():
        for replicate in range(batch.per_prompt):
            name, seed = prompts.prompt_id(prompt), len(rows)
            key = hashlib.sha256(f"{batch.name} {prompt} {replicate}".encode()).hexdigest()[:32]
            noise = np.random.default_rng(seed).integers(0, 256, (1 if still else 8, 32, 32, 3), dtype=np.uint8)
            stored = store.put(key, Clip(noise, 0.0 if still else 8.0), crf=20, pixel_format="yuv420p")
            entries.append(Entry(name, 0, replicate, key, stored.sha256, stored.frames, stored.fps))
            row = {"prompt_id": name, "prompt": prompt, "candidate": 0, "refined": text, "negative": None}
            row |= {"replicate": replicate, "seed": seed, "key": key}
            row |= {metric.name: five / metric.to_five for metric in metrics}
            rows.append(row | {metric.five: float(five) for metric in metrics})
    table = pd.DataFrame(rows).astype({"negative": "str"})
    table["negative"] = None
    schema = schemas.scores(metrics)
    path = Path(study.files(batch).scores(REWARDS))
    path.parent.mkdir(parents=True, exist_ok=True)
    schemas.write_table(schema.validate(table[list(schema.columns)]), path, schema)
    first, *others = study.manifests(batch)
    write_manifest(entries, Path(first))
    for other in others:
        write_manifest([], Path(other))
    return table


def flat_scores(averages: list[float]) -> pd.DataFrame:
    """One video a prompt whose metrics all have the same value on the 0-5 scale."""
    ids = [f"p{i:03}" for i in range(len(averages))]
    columns = {"prompt_id": ids, "candidate": 0, "replicate": 0, "refined": "text"} | {
        f"{d}_5": averages for d in METRICS
    }
    return pd.DataFrame(columns)


def booster_config(**settings: Any) -> BoosterConfig:
    return BoosterConfig.model_validate({"base": "tiny", "sft": SFT.model_dump(), "dpo": DPO.model_dump(), **settings})


def make_run(folder: Path, name: str, previous: str | None = None, seed: int = 5, **booster: Any) -> Run:
    return Run(folder / name, folder / "checkpoints", previous, seed, booster_config(**{"threads": 1, **booster}))


def judge_config(kind: str, **fields: Any) -> Any:
    return JUDGE.validate_python({"kind": kind, "device": "cpu", "batch_size": 3, **JUDGES[kind], **fields})


def load_judge(kind: str, models: Path, **fields: Any) -> NeuralJudge:
    (reward,) = load_judges({kind: judge_config(kind, **fields)}, models).values()
    assert isinstance(reward, NeuralJudge)
    return reward


def clips(count: int, frames: int = 18, seed: int = 0) -> list[Clip]:
    rng = np.random.default_rng(seed)
    return [Clip(rng.integers(0, 256, (frames, 40, 60, 3), dtype=np.uint8), 8.0) for _ in range(count)]


def diffusers_config(**fields: Any) -> DiffusersConfig:
    given = {
        "kind": "diffusers",
        "model": "tiny",
        "dtype": "float32",
        "device": "cpu",
        "batch_size": 2,
        "fps": 8.0,
        "seconds_per_video": 1.0,
    }
    return DiffusersConfig.model_validate({**given, **fields})


def whole(folder: Path) -> Manifest:
    """The manifest of a fetched model, whose files are to the byte those that it names."""
    manifest = check_model(folder)
    assert {file: sha256(folder / file) for file in manifest.files} == {
        file: record.sha256 for file, record in manifest.files.items()
    }
    return manifest
