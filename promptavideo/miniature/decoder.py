"""Sharpen the miniature's VAE decoder while its encoder, and with it every cached latent, stays as it is.

Trained together with its encoder, the decoder blurs edges so much that focus can hardly be told. More steps for the
decoder alone, with a loss on edges and slightly noisy latents (as the transformer will give it), mend that.
"""

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLLTXVideo

from promptavideo.files import atomic_path
from promptavideo.miniature.world import random_scene, render

log = logging.getLogger(__name__)

LATENT_NOISE = 0.05  # in units of each latent channel's deviation


def sharpen(folder: Path, steps: int, batch: int = 16, lr: float = 6e-4, seed: int = 0, every: int = 200) -> None:
    """Train the decoder of `folder/vae` for `steps` steps and save the whole VAE as `folder/vae-sharp`; resumes.

    The loss is MSE + 3 x chroma MSE + 0.5 L1 + 0.5 L1 of the differences between neighbouring pixels.
    """
    if (folder / "vae-sharp" / "config.json").exists():
        return
    vae: Any = AutoencoderKLLTXVideo.from_pretrained(folder / "vae")
    vae.encoder.requires_grad_(False)
    optimizer = torch.optim.AdamW(vae.decoder.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=1e-4)
    state_path, start = folder / "decoder.state.pt", 0
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        vae.decoder.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
    deviation = vae.latents_std.view(1, -1, 1, 1, 1)
    began = time.monotonic()
    for step in range(start, steps):
        rng = np.random.default_rng((seed, 5, step))
        noise_rng = torch.Generator().manual_seed(int(rng.integers(2**62)))
        frames = np.stack([render(random_scene(rng), rng) for _ in range(batch)])
        clips = torch.from_numpy(frames).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
        for group in optimizer.param_groups:
            group["lr"] = lr * min((step + 1) / 100, 1.0, 2 * (steps - step) / steps)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            with torch.no_grad():
                latents = vae.encode(clips).latent_dist.mean
                latents = latents + LATENT_NOISE * deviation * torch.randn(latents.shape, generator=noise_rng)
            output = vae.decode(latents).sample
        error = output.float() - clips
        chroma = error - error.mean(1, keepdim=True)
        edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        loss = error.square().mean() + 3 * chroma.square().mean() + 0.5 * error.abs().mean() + 0.5 * edges
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.decoder.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 50 == 0:
            speed = (step + 1 - start) / (time.monotonic() - began)
            log.info("decoder %d/%d mse %.5f l1 %.4f, %.2f steps/s", step + 1, steps, error.detach().square().mean(),
                     error.detach().abs().mean(), speed)  # fmt: skip
        if (step + 1) % every == 0:
            with atomic_path(state_path) as partial:
                torch.save(
                    {"model": vae.decoder.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}, partial
                )
    vae.save_pretrained(folder / "vae-sharp")
