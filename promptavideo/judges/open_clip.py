"""Weights of a CLIP under the names of the package open_clip, for transformers' class."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_LAYER = re.compile(r"(?P<tower>visual\.)?transformer\.resblocks\.(?P<place>\d+)\.(?P<part>.+)")
_TOWERS = {True: "vision_model", False: "text_model"}
_PARTS = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
"""Of a layer, by what precedes `.weight` or `.bias`."""
_OTHERS = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre": "vision_model.pre_layrnorm",
    "visual.ln_post": "vision_model.post_layernorm",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "ln_final": "text_model.final_layer_norm",
    "logit_scale": "logit_scale",
}
_TURNED = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}
"""Matrices that stand the other way round."""


def renamed(weights: "Mapping[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """The weights under the names of `transformers.CLIPModel`; unknown ones keep theirs.

    Args:
        weights: As open_clip saves them; the query, key and value of a layer are one matrix there.
    """
    found: dict[str, torch.Tensor] = {}
    for name, value in weights.items():
        layer = _LAYER.fullmatch(name)
        if name == "attn_mask":  # a constant
            continue
        if name in _TURNED:
            found[_TURNED[name]] = value.T.contiguous()
        elif layer is None:
            found[_other(name)] = value
        else:
            where = f"{_TOWERS[layer['tower'] is not None]}.encoder.layers.{layer['place']}"
            if layer["part"].startswith("attn.in_proj_"):
                end = layer["part"].removeprefix("attn.in_proj_")
                for part, rows in zip("qkv", value.chunk(3), strict=True):
                    found[f"{where}.self_attn.{part}_proj.{end}"] = rows.contiguous()
            else:
                part, _, end = layer["part"].rpartition(".")
                found[f"{where}.{_PARTS.get(part, part)}.{end}"] = value
    return found


def _other(name: str) -> str:
    part, _, end = name.rpartition(".")
    return _OTHERS.get(name) or (f"{_OTHERS[part]}.{end}" if part in _OTHERS else name)
