"""The miniature from its parts: the weights that training exports, and the text encoder that it shares."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    LattePipeline,
    LatteTransformer3DModel,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
)
from transformers import AutoTokenizer, BertModel

from promptavideo.errors import InputError

TEXT_LAYERS = 2  # of MiniLM's six: the later ones blend a sentence's words and drown the direction of motion


PIPELINES: dict[str, tuple[Any, Any]] = {
    "LatteTransformer3DModel": (LattePipeline, LatteTransformer3DModel),
    "PixArtTransformer2DModel": (PixArtSigmaPipeline, PixArtTransformer2DModel),
}
"""The pipeline of each kind of transformer, by the name in its config: of videos, and of images."""


def assemble(weights: Path, encoder: Path, target: Path) -> None:
    """Save a pipeline of the miniature's parts, in float32 whatever the shipped precision.

    Raises:
        InputError: The transformer is of no miniature.
    """
    safe: dict[str, Any] = {"use_safetensors": True, "torch_dtype": torch.float32}
    described = weights / "transformer" / "config.json"
    kind = json.loads(described.read_text(encoding="utf-8")).get("_class_name")
    if kind not in PIPELINES:
        raise InputError(f"{described}: {kind} is no transformer of a miniature; known are {', '.join(PIPELINES)}")
    made, transformer = PIPELINES[kind]
    pipeline: Any = made(
        scheduler=DDIMScheduler.from_pretrained(weights / "scheduler"),
        vae=AutoencoderKL.from_pretrained(weights / "vae", **safe),
        text_encoder=load_text_encoder(encoder),
        tokenizer=AutoTokenizer.from_pretrained(encoder),
        transformer=transformer.from_pretrained(weights / "transformer", **safe),
    )
    pipeline.save_pretrained(target)
    drop_paths(target)


def load_text_encoder(folder: Path) -> Any:
    """The first layers of the text encoder in `folder`, in float32 and frozen."""
    encoder = BertModel.from_pretrained(folder, use_safetensors=True, dtype=torch.float32)
    del encoder.encoder.layer[TEXT_LAYERS:]
    encoder.config.num_hidden_layers = len(encoder.encoder.layer)
    return encoder.eval().requires_grad_(False)


def drop_paths(folder: Path) -> None:
    """Remove the path that each config was loaded from, so that no file depends on where it was made."""
    for path in [*folder.rglob("*config.json"), *folder.rglob("model_index.json")]:
        config = json.loads(path.read_text(encoding="utf-8"))
        kept = {key: value for key, value in config.items() if key not in ("_name_or_path", "name_or_path")}
        path.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")
