"""Tiny random models of the classes that paper.yaml names, each saved as the real one is published, and captions."""

import csv
import hashlib
import itertools
import os
import shutil
import string
import subprocess
from pathlib import Path
from typing import Any

import tiny_videoreward
import torch
import yaml
from tiny import tiny_gpt2, tiny_llama
from tiny_judges import clip, head, mps, videoscore
from tiny_pipelines import tiny_cogvideox
from transformers import BertConfig, BertModel, BertTokenizer, GPT2LMHeadModel

from promptavideo.files import sha256

ROOT = Path(__file__).parents[2]
SUBJECTS = ("An old fisherman", "A child in a yellow coat", "Two white horses", "A small red boat")
ACTIONS = ("crossing a wide river", "waiting near a stone bridge", "seen from a slowly flying drone")
RANDOM_NETWORKS = {"clip-vit-l-14": "pt", "laion-aesthetic": "pth", "musiq-spaq": "pth"}
"""Of tests/vbench_package/random_weights.py, those that the overlay's dimensions need."""


def make(folder: Path) -> None:
    """Make everything that overlay.yaml names below `folder`."""
    tiny_cogvideox(folder / "cogvideox-5b")
    tiny_llama(folder / "llama-3-8b-instruct")
    videoscore(folder / "videoscore")
    clip(folder / "clip-vit-l14")
    clip(folder / "clip-vit-h14", "gelu")
    mps(folder / "mps")
    head(folder / "laion-aesthetic.pth")
    encoder(folder / "minilm-l6")
    torch.save(tiny_videoreward.state(tiny_videoreward.base(folder / "qwen2-vl-2b")), folder / "videoreward.pth")
    tiny_gpt2(folder / "gpt2")
    torch.save(GPT2LMHeadModel.from_pretrained(folder / "gpt2").state_dict(), folder / "promptist.bin")
    captions(folder / "webvid.csv")
    (folder / "webvid-test.txt").write_text(f"Rice fields near a town, 120 metres up\n{SUBJECTS[0]} {ACTIONS[0]}")
    conda(folder / "bin")
    vbench(folder / "vbench")


def addresses(folder: Path) -> dict[str, Any]:
    """The configuration of what is a single file at an address: models, and the published test prompts."""
    tests = folder / "webvid-test.txt"
    return {
        "prompt_sources": {"webvid-test": {"url": tests.resolve().as_uri(), "sha256": sha256(tests)}},
        "models": {
            "laion-aesthetic": {"url": (folder / "laion-aesthetic.pth").resolve().as_uri()},
            "videoreward": {
                "url": (folder / "videoreward.pth").resolve().as_uri(),
                "sha256": sha256(folder / "videoreward.pth"),
            },
            "promptist": {"url": (folder / "promptist.bin").resolve().as_uri()},
        },
    }


def encoder(folder: Path) -> None:
    """A text encoder as all-MiniLM-L6-v2 is published."""
    letters = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    BertTokenizer(vocab={word: place for place, word in enumerate(words)}).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    BertModel(config).save_pretrained(folder)


def captions(path: Path) -> None:
    """A partition of WebVid's table: captions among other columns, one of them with digits."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["videoid", "contentUrl", "duration", "page_dir", "name"])
        names = [f"{who} {what}." for what, who in itertools.product(ACTIONS, SUBJECTS)]
        for place, name in enumerate(["Aerial view of a harbour, 4k footage of 2019.", *names]):
            table.writerow([place, f"https://example.org/{place}.mp4", "PT00H00M10S", "000001_000050", name])


def open_sora(folder: Path) -> None:
    """A checkout of tag v1.2.0 of Open-Sora."""
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "tests/open_sora_inference.py", folder / "scripts/inference.py")
    person = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    for command in (["init", "--quiet"], ["add", "."], [*person, "commit", "--quiet", "-m", "code"], ["tag", "v1.2.0"]):
        subprocess.run(["git", *command], cwd=folder, check=True)


def conda(folder: Path) -> None:
    """`conda run --no-capture-output --name NAME COMMAND` without an environment of its own."""
    folder.mkdir(parents=True)
    (folder / "conda").write_text('#!/bin/sh\n[ "$1" = run ] || exit 64\nshift 4\nexec "$@"\n')
    os.chmod(folder / "conda", 0o755)  # noqa: PTH101


def vbench(folder: Path) -> None:
    """Checkpoints of random networks, and where they are, in the form of resources/vbench/checkpoints.yaml."""
    python = ROOT / ".venv-vbench/bin/python"
    subprocess.run([python, ROOT / "tests/vbench_package/random_weights.py", folder, *RANDOM_NETWORKS], check=True)
    entries: dict[str, Any] = yaml.safe_load((ROOT / "resources/vbench/checkpoints.yaml").read_text())
    for name, suffix in RANDOM_NETWORKS.items():
        file = folder / f"{name}.{suffix}"
        entries[name] |= {"url": file.resolve().as_uri(), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        entries[name].pop("contents", None)
        entries[name]["megabytes"] = max(1, file.stat().st_size / 1e6)
    (folder / "checkpoints.yaml").write_text(yaml.safe_dump(entries))
