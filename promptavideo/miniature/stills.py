"""Train the miniature generator of images: a diffusion transformer on latents of the world's stills.

A `PixArtSigmaPipeline` of stock diffusers classes; only their sizes are ours. Its VAE is that of the miniature that
films, its text encoder the same. It reads `TEXT_TOKENS` tokens of a text and is trained on captions that are cut there,
so what a long prompt says at its end is lost, as it is with published models of images. Both phases resume.
"""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, PixArtTransformer2DModel
from safetensors.torch import load_file, save_file

from promptavideo.dtypes import autocast
from promptavideo.files import atomic_path
from promptavideo.miniature import fitting
from promptavideo.miniature.assembly import load_text_encoder
from promptavideo.miniature.training import LATENT_CHANNELS, LATENT_SIZE, encode_texts, fit_velocity
from promptavideo.miniature.world import caption, random_scene, render_still
from promptavideo.tokenization import load_tokenizer

log = logging.getLogger(__name__)

TEXT_TOKENS = 24
"""Read of a text: a short prompt of the world has 9 to 18, and three phrases of quality have 10 or so."""


@dataclass(frozen=True, kw_only=True)
class Plan(fitting.Schedule):
    """Sizes of a training run."""

    stills: int = 98304
    steps: int = 4000
    batch: int = 64
    lr: float = 1e-3
    decay_steps: int = 1500
    part: int = 8192  # stills in one file of the cache
    encode_batch: int = 256  # stills encoded at once; divides `part`
    checkpoint_every: int = 250


def build_transformer() -> Any:
    """Some four million weights (`PixArtTransformer2DModel`) over the VAE's latents and MiniLM's text states."""
    return PixArtTransformer2DModel(
        num_attention_heads=3,
        attention_head_dim=64,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=6,
        cross_attention_dim=192,
        attention_bias=True,
        sample_size=LATENT_SIZE,
        patch_size=2,
        interpolation_scale=1,
        use_additional_conditions=False,
        caption_channels=384,
    )


def train(folder: Path, films: Path, text_encoder: Path, plan: Plan, device: str = "cpu") -> None:
    """Run every unfinished phase; leaves `vae/` and `transformer/` (diffusers format) in `folder`.

    Args:
        folder: Checkpoints and the cached training set.
        films: The folder of a miniature that films, whose `vae/` is taken.
        text_encoder: A folder with the text encoder and its tokenizer.
        plan: Sizes.
        device: Where the networks run; what is drawn is drawn on the CPU and does not depend on it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(films / "vae", folder / "vae", dirs_exist_ok=True)
    fill_cache(folder, text_encoder, plan, device)
    train_transformer(folder, plan, device)


@torch.no_grad()
def fill_cache(folder: Path, text_encoder: Path, plan: Plan, device: str = "cpu") -> None:
    """Write the training set's scaled latents and text states, one file for every `plan.part` stills."""
    parts = [folder / "cache" / f"{part}.safetensors" for part in range(-(-plan.stills // plan.part))]
    missing = [(index, path) for index, path in enumerate(parts) if not path.exists()]
    if not missing:
        return
    vae: Any = AutoencoderKL.from_pretrained(folder / "vae").to(device)
    tokenizer, encoder = load_tokenizer(text_encoder), load_text_encoder(text_encoder)
    for index, path in missing:
        rng, _ = fitting.seeded(plan.seed, 8, index)
        latents, states, lengths = [], [], []
        for _ in range(plan.part // plan.encode_batch):
            scenes = [random_scene(rng) for _ in range(plan.encode_batch)]
            pixels = torch.from_numpy(np.stack([render_still(scene, rng) for scene in scenes]))
            pixels = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
            with autocast(vae.device.type):
                encoded = vae.encode(pixels.to(vae.device)).latent_dist.mean.float() * vae.config.scaling_factor
            with autocast("cpu"):
                captions = [caption(scene, rng) for scene in scenes]
                text, count = encode_texts(captions, tokenizer, encoder, TEXT_TOKENS)
            latents.append(encoded.cpu().half())
            states.append(text.bfloat16())
            lengths += count
        tensors = {"latents": torch.cat(latents).contiguous(), "states": torch.cat(states)}
        tensors["lengths"] = torch.tensor(lengths)
        with atomic_path(path) as partial:
            save_file(tensors, partial)
        log.info("cache %d/%d", index + 1, len(parts))
    empty, _ = encode_texts([""], tokenizer, encoder, TEXT_TOKENS)
    with atomic_path(folder / "cache" / "empty.safetensors") as partial:
        save_file({"states": empty.bfloat16()}, partial)


class Cache:
    """The training set in memory: latents [N, 8, 8, 8] (channels, height, width) and ragged text states."""

    def __init__(self, folder: Path) -> None:
        parts = fitting.load_parts(folder)
        self.latents, self.texts = parts["latents"], parts["states"].split(parts["lengths"].tolist())
        self.empty = load_file(folder / "empty.safetensors")["states"]

    def batch(self, rng: np.random.Generator, size: int, empty: bool) -> tuple[torch.Tensor, ...]:
        """Latents [B, 8, 8, 8], states [B, L, 384] of their captions or, if `empty`, of the empty text, and masks."""
        rows = rng.integers(0, len(self.latents), size).tolist()
        texts = [self.empty if empty else self.texts[row] for row in rows]
        states = torch.nn.utils.rnn.pad_sequence([text.float() for text in texts], batch_first=True)
        lengths = torch.tensor([len(text) for text in texts])
        mask = torch.arange(states.shape[1]) < lengths[:, None]
        return self.latents[rows].float(), states, mask.float()


def train_transformer(folder: Path, plan: Plan, device: str = "cpu") -> None:
    """Train (or resume) the transformer by v-prediction; saves its moving average to `folder/transformer`."""
    fit_velocity(folder, plan, Cache(folder / "cache"), build_transformer, velocity, 9, 0.7, device)


def velocity(
    model: Any, latents: torch.Tensor, times: torch.Tensor, states: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """The velocity [B, C, H, W] that a transformer predicts for noisy latents of that shape.

    Args:
        model: The transformer.
        latents: On the model's device.
        times: Timesteps [B].
        states: Text states [B, L, 384].
        mask: Which of them are the text's [B, L].
    """
    with autocast(latents.device.type):
        predicted: torch.Tensor = model(
            latents,
            encoder_hidden_states=states,
            encoder_attention_mask=mask,
            timestep=times,
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
            return_dict=False,
        )[0].float()
    return predicted
