"""MPS's network: CLIP ViT-H/14 whose image tokens attend to the words of a prompt, under its published key names.

Zhang et al., "Learning Multi-dimensional Human Preference for Text-to-Image Generation" (CVPR 2024).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention, silu
from transformers import CLIPConfig, CLIPModel, CLIPPreTrainedModel

ROTARY_BASE = 10_000
FACTOR = 4
"""Width of the feed-forward layers in widths of the model."""


def shape_of(weights: Mapping[str, torch.Tensor]) -> dict[str, int]:
    """Layers, heads and width of a head, read from the shapes of published weights.

    Raises:
        KeyError: They are of another network.
    """
    first = "cross_model.layers.0.0.fn."
    width = weights[f"{first}to_kv.weight"].shape[0] // 2  # keys and values have one head
    layers = {key.split(".")[2] for key in weights if key.startswith("cross_model.layers.")}
    return {"layers": len(layers), "heads": weights[f"{first}to_q.weight"].shape[0] // width, "width": width}


class MpsNetwork(CLIPPreTrainedModel):
    """Scores images for prompts.

    Keys: `model.*` (a CLIP), `cross_model.layers.{i}.0.fn.*` (to the words), `cross_model.layers.{i}.1.fn.*` (among
    the image's own tokens).
    """

    config_class = CLIPConfig

    def __init__(self, config: CLIPConfig, layers: int, heads: int, width: int) -> None:
        super().__init__(config)
        self.model = CLIPModel(config)
        self.cross_model = _Cross(int(config.projection_dim or 0), layers, heads, width)
        self.post_init()

    def words(self, ids: torch.Tensor) -> torch.Tensor:
        """Features [B, L, D] of every token of `ids` [B, L], padding among them."""
        return self.model.text_projection(self.model.text_model(input_ids=ids).last_hidden_state)

    def forward(
        self, input_ids: torch.Tensor, pixel_values: torch.Tensor, condition: torch.Tensor, threshold: float
    ) -> torch.Tensor:
        """Scores [B, T] of T images for each of B prompts.

        An image attends to those tokens of its prompt that are near to a token of the condition: their best similarity
        is over `threshold` of the largest in the prompt. The original divides by the largest in the batch; with the
        frames of one clip as a batch, which share their prompt, that is the same.

        Args:
            input_ids: [B, L], padded with the end token.
            pixel_values: [B, T, 3, H, W].
            condition: What `words` gave for the condition, [1, C, D].
            threshold: Of the mask.
        """
        count = pixel_values.shape[1]
        words = self.words(input_ids)
        # The end of the text has the highest id, and padding repeats it: the first one is meant.
        ends = words[torch.arange(len(words), device=words.device), input_ids.argmax(dim=1)]
        near = (words.float() @ condition.float().transpose(1, 2)).amax(dim=2)
        near = near / near.amax(dim=1, keepdim=True)
        mask = (near > threshold).repeat_interleave(count, dim=0)[:, None, None, :]
        images = self.model.visual_projection(
            self.model.vision_model(pixel_values=pixel_values.flatten(0, 1)).last_hidden_state
        )
        seen = self.cross_model(images, words.repeat_interleave(count, dim=0), mask)[:, 0]
        # In float32, since bfloat16 would round scores of about 10 to steps of 1/16.
        cosine = torch.cosine_similarity(seen.float(), ends.float().repeat_interleave(count, dim=0), dim=1)
        return (self.model.logit_scale.float().exp() * cosine).view(-1, count)


class _Residual(nn.Module):
    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: torch.Tensor, *others: Any) -> torch.Tensor:
        return x + self.fn(x, *others)


class _Gate(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value, gate = x.chunk(2, dim=-1)
        return silu(gate) * value


class _ToWords(nn.Module):
    """Attention from image tokens to words, with a feed-forward layer beside it; one head of keys and values."""

    def __init__(self, dim: int, heads: int, width: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, heads * width, bias=False)
        self.to_kv = nn.Linear(dim, 2 * width, bias=False)
        self.to_out = nn.Linear(heads * width, dim, bias=False)
        inner = FACTOR * dim
        self.ff = nn.Sequential(nn.Linear(dim, 2 * inner, bias=False), _Gate(), nn.Linear(inner, dim, bias=False))

    def forward(self, x: torch.Tensor, words: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = self.norm(x)
        key, value = self.to_kv(words).chunk(2, dim=-1)
        return self.to_out(_attend(_heads(self.to_q(x), self.heads), key, value, mask)) + self.ff(x)


class _AmongImage(nn.Module):
    """Attention among image tokens with rotary positions, and a feed-forward layer beside it, from one projection."""

    def __init__(self, dim: int, heads: int, width: int) -> None:
        super().__init__()
        self.heads, self.width = heads, width
        inner = FACTOR * dim
        self.parts = (heads * width, width, width, 2 * inner)
        self.norm = nn.LayerNorm(dim)
        self.fused_attn_ff_proj = nn.Linear(dim, sum(self.parts), bias=False)
        self.attn_out = nn.Linear(heads * width, dim, bias=False)
        self.ff_out = nn.Sequential(_Gate(), nn.Linear(inner, dim, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value, forward = self.fused_attn_ff_proj(self.norm(x)).split(self.parts, dim=-1)
        angles = _angles(x.shape[1], self.width, x.device)
        query = _rotate(_heads(query, self.heads), angles)
        return self.attn_out(_attend(query, _rotate(key, angles), value, None)) + self.ff_out(forward)


class _Cross(nn.Module):
    def __init__(self, dim: int, layers: int, heads: int, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([_Residual(_ToWords(dim, heads, width)), _Residual(_AmongImage(dim, heads, width))])
            for _ in range(layers)
        )

    def forward(self, x: torch.Tensor, words: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer[1](layer[0](x, words, mask))  # type: ignore[index]
        return x


def _heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """[B, N, heads * width] to [B, heads, N, width]."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """[B, N, heads * width]: [B, heads, N, width] attending to keys and values [B, M, width] that all heads share."""
    shape = (-1, query.shape[1], -1, -1)
    found = scaled_dot_product_attention(query, key[:, None].expand(shape), value[:, None].expand(shape), mask)
    return found.transpose(1, 2).flatten(2)


def _angles(count: int, width: int, device: torch.device) -> torch.Tensor:
    """Rotary angles [count, width] in float32, which also the largest need."""
    speeds = ROTARY_BASE ** -(torch.arange(0, width, 2, device=device, dtype=torch.float32) / width)
    angles = torch.arange(count, device=device, dtype=torch.float32)[:, None] * speeds
    return torch.cat([angles, angles], dim=1)


def _rotate(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    low, high = x.float().chunk(2, dim=-1)
    return (x.float() * angles.cos() + torch.cat([-high, low], dim=-1) * angles.sin()).to(x.dtype)
