"""A finished run with boosters of random adapters, without the training: what their use is tested with."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from makers import LORA, ROOT, workspace
from peft import get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM

from promptavideo import runfile
from promptavideo.boosters.load import CARD
from promptavideo.boosters.training import WEIGHTS, _save_adapter, lora_config
from promptavideo.config import check, resolve
from promptavideo.files import sha256
from promptavideo.models import check_model
from promptavideo.reading import Reader, write_reader
from promptavideo.settings import lay
from promptavideo.steps import inputs
from promptavideo.study import Study

INSTRUCTION = (ROOT / "templates/booster.txt").read_text(encoding="utf-8").strip()
LIMIT = 24
"""Words that the run's generator reads."""


def make_booster(folder: Path, base: Path, previous: str | None = None, seed: int = 0) -> Path:
    """A booster's folder as training leaves it, with an adapter of random weights over a fetched base model."""
    torch.manual_seed(seed)
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    settings = lora_config(LORA, model.config.num_hidden_layers)
    settings.init_lora_weights = False
    _save_adapter(get_peft_model(model, settings), folder / "adapter")
    manifest = check_model(base)
    card = {
        "stage": "dpo" if previous else "sft",
        "base": manifest.digest,
        "data": "0" * 64,
        "examples": 2,
        "instruction": INSTRUCTION,
        "base_model": {"name": manifest.name, "kind": manifest.kind, "source": manifest.source, "revision": None},
        "previous": previous,
        "adapter": sha256(folder / "adapter" / WEIGHTS),
    }
    (folder / CARD).write_text(json.dumps(card))
    return folder


def words_reader(limit: int) -> Reader:
    """A reader that counts words."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return Reader(limit, tokenizer)


def study_at(folder: Path, overlay: Mapping[str, Any] | None = None) -> Study:
    """The study of a workspace at smoke scale; its run file is that of a finished run."""
    layers = {
        name: yaml.safe_load((ROOT / name).read_text(encoding="utf-8")) for name in ("config.yaml", "tests/smoke.yaml")
    }
    raw = resolve(lay(layers | {"test": dict(overlay or {})})[0], ROOT)
    runfile.keep(runfile.write(raw, folder / runfile.FOLDER), folder / runfile.FINISHED)
    return Study(check(raw, ROOT), folder)


def finished_run(folder: Path, overlay: Mapping[str, Any] | None = None) -> Path:
    """A workspace with the boosters sft, dpo-1 and dpo-2 of mini-t2v, its base model fetched."""
    workspace(folder)
    study = study_at(folder, overlay)
    before = Path.cwd()
    os.chdir(folder)
    try:
        inputs.fetch_model(Study(study.config), study.config.booster.base)
    finally:
        os.chdir(before)
    base = folder / study.layout.model(study.config.booster.base)
    previous = None
    for seed, name in enumerate(("sft", "dpo-1", "dpo-2")):
        make_booster(folder / study.layout.booster("mini-t2v", name).folder, base, previous, seed)
        previous = f"../{name}"
    write_reader(folder / study.layout.reader("mini-t2v"), words_reader(LIMIT))
    return folder
