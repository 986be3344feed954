"""VideoReward's network: Qwen2-VL and a head, from published weights, with positions as in the authors' own."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import Qwen2VLConfig, Qwen2VLModel

from promptavideo.errors import InputError
from promptavideo.judges.loading import load_network

LORA_ALPHA = 128
"""The published weights hold their adapter beside the layers, where it counts LORA_ALPHA / rank times."""


def load(folder: Path, base: Path, dtype: str) -> tuple[Any, torch.Tensor]:
    """The network, and the head [1, width] that reads one score of a token's state.

    Args:
        folder: The fetched weights.
        base: Where Qwen2-VL's configuration is.
        dtype: What the network computes in.

    Raises:
        InputError: The folder holds other weights.
    """
    weights, head = _merged(folder, getattr(torch, dtype))
    config: Any = Qwen2VLConfig.from_pretrained(base, local_files_only=True)
    config.name_or_path = str(folder)
    config.text_config.vocab_size = len(weights["language_model.embed_tokens.weight"])
    network = load_network(Qwen2VLModel, None, dtype, config=config, state_dict=weights)
    _round_positions(network)
    return network, head


def _merged(folder: Path, dtype: torch.dtype) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Weights under the names of `Qwen2VLModel`, the adapter merged into them in float32; and the head."""
    merged: dict[str, torch.Tensor] = {}
    try:
        state = {key: value for file in folder.glob("*.safetensors") for key, value in load_file(file).items()}
        for key, value in state.items():
            name = key.removeprefix("base_model.model.")
            if ".lora_" in name or name == "lm_head.weight":
                continue
            if name.endswith(".base_layer.weight"):
                down, up = (state[key.replace("base_layer", f"lora_{part}.default")].float() for part in "AB")
                value = value.float() + LORA_ALPHA / len(down) * (up @ down)
            if name.startswith("model."):
                name = "language_" + name
            merged[name.replace(".base_layer.", ".")] = value.to(dtype)
        head = merged.pop("rm_head.weight")
        if head.shape != (1, merged["language_model.embed_tokens.weight"].shape[1]):
            raise ValueError(f"a head of shape {list(head.shape)}")
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{folder}: holds no weights of VideoReward ({error})") from error
    return merged, head


def _round_positions(network: Any) -> None:
    """Rotate by positions as the authors' training and scoring do, which cast the rotations' speeds to bfloat16 too.

    That is far from nothing: after a thousand tokens an angle is off by up to two radians.
    """
    text, frames = network.language_model.rotary_emb, network.visual.rotary_pos_emb
    text.inv_freq = text.inv_freq.bfloat16().float()

    def rounded(module: Any, given: tuple[Any, torch.Tensor], _: Any) -> tuple[torch.Tensor, ...]:
        angles = given[1][..., None].bfloat16() * module.inv_freq.bfloat16()
        return tuple(module.recomposition_frequencies(part.float()) for part in (angles.cos(), angles.sin()))

    frames.register_forward_hook(rounded)
