"""Train the miniature generator from nothing: a VAE, then a flow-matching transformer on cached latents.

Both are stock diffusers classes of `LTXPipeline`; only their sizes are ours. The text encoder (all-MiniLM-L6-v2) stays
frozen. Every phase resumes: the VAE and the transformer from their last checkpoint, the cache from its last full part.
"""

import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLLTXVideo, FlowMatchEulerDiscreteScheduler, LTXVideoTransformer3DModel
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AutoModel, AutoTokenizer

from promptavideo.files import atomic_path
from promptavideo.miniature.world import FRAMES, caption, random_scene, render

log = logging.getLogger(__name__)

FRAME_RATE = 8  # frames a second
TEXT_TOKENS = 80  # every text is padded to this length before it is encoded, as LTXPipeline does
SHIFT = 2.0  # the sampler spends its few steps at high noise, where content and motion are decided
LATENT_CHANNELS, LATENT_SIZE = 16, 4  # a clip's latents are [16, 8, 4, 4]


@dataclass(frozen=True)
class Plan:
    """Sizes of a training run; steps are optimizer steps, batches count clips."""

    vae_steps: int = 3000
    vae_batch: int = 16
    clips: int = 32768
    steps: int = 6000
    batch: int = 48
    lr: float = 1e-3
    decay_steps: int = 1200  # the learning rate falls to zero over the last ones
    checkpoint_every: int = 250
    seed: int = 0
    part: int = 2048  # clips in one file of the cache
    encode_batch: int = 64  # clips encoded at once; divides `part`


def build_vae() -> Any:
    """A VAE (`AutoencoderKLLTXVideo`) that compresses 8 times in space only: time compression blurred the motion."""
    return AutoencoderKLLTXVideo(
        latent_channels=LATENT_CHANNELS,
        block_out_channels=(128,),
        decoder_block_out_channels=(128,),
        down_block_types=("LTXVideoDownBlock3D",),
        layers_per_block=(2, 2),
        decoder_layers_per_block=(2, 2),
        spatio_temporal_scaling=(False,),
        decoder_spatio_temporal_scaling=(False,),
        decoder_inject_noise=(False, False),
        downsample_type=("conv",),
        upsample_residual=(False,),
        upsample_factor=(1,),
        patch_size=8,
        spatial_compression_ratio=8,
        temporal_compression_ratio=1,
    )


def build_transformer() -> Any:
    """Four million weights over the miniature VAE's latents and MiniLM's text states (`LTXVideoTransformer3DModel`)."""
    return LTXVideoTransformer3DModel(
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_attention_heads=3,
        attention_head_dim=64,
        cross_attention_dim=192,
        num_layers=6,
        caption_channels=384,
    )


def rope_scale() -> tuple[float, int, int]:
    """The rotary scales LTXPipeline derives from this VAE and frame rate."""
    return (1 / FRAME_RATE, 8, 8)


def train(folder: Path, text_encoder: Path, plan: Plan) -> None:
    """Run every unfinished phase; leaves `vae/` and `transformer/` (diffusers format) in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    vae = train_vae(folder, plan)
    fill_cache(folder, vae, text_encoder, plan)
    train_transformer(folder, plan)


def _seeded(*key: int) -> tuple[np.random.Generator, torch.Generator]:
    """Generators that depend on the key alone, so a resumed run draws what an unbroken one would."""
    rng = np.random.default_rng(key)
    return rng, torch.Generator().manual_seed(int(rng.integers(2**62)))


def _render_batch(rng: np.random.Generator, count: int) -> torch.Tensor:
    """`count` random clips as [B, 3, T, H, W] in -1..1."""
    clips = np.stack([render(random_scene(rng), rng) for _ in range(count)])
    return torch.from_numpy(clips).permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def _warm_decay(step: int, steps: int, decay: int, warm: int = 200) -> float:
    """Learning-rate factor: linear warm-up, flat, linear decay over the last `decay` steps."""
    return min((step + 1) / warm, 1.0, max(steps - step, 0) / decay)


def _save_state(path: Path, state: dict[str, Any]) -> None:
    with atomic_path(path) as partial:
        torch.save(state, partial)


def _save_model(model: Any, folder: Path) -> None:
    """Save a diffusers model so that `folder` holds all of it or does not exist."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _save_average(model: Any, average: Any, folder: Path) -> None:
    average.store(model.parameters())
    average.copy_to(model.parameters())
    _save_model(model, folder)
    average.restore(model.parameters())


def train_vae(folder: Path, plan: Plan) -> Any:
    """Train (or load) the VAE. Loss: MSE + 3 x chroma MSE + 0.3 L1 + a small KL, on clips in -1..1."""
    if (folder / "vae" / "config.json").exists():
        return AutoencoderKLLTXVideo.from_pretrained(folder / "vae")
    torch.manual_seed(plan.seed)
    vae = build_vae()
    optimizer = torch.optim.AdamW(vae.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=1e-4)
    state_path, start = folder / "vae.state.pt", 0
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        vae.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
    began = time.monotonic()
    for step in range(start, plan.vae_steps):
        rng, noise = _seeded(plan.seed, 1, step)
        clips = _render_batch(rng, plan.vae_batch)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * _warm_decay(step, plan.vae_steps, plan.vae_steps // 2)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            posterior = vae.encode(clips).latent_dist
            output = vae.decode(posterior.sample(noise)).sample
        output = output.float()
        error = output - clips
        chroma = error - error.mean(1, keepdim=True)
        reconstruction = error.square().mean() + 3 * chroma.square().mean() + 0.3 * error.abs().mean()
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        loss = reconstruction + 1e-4 * divergence
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 50 == 0:
            speed = (step + 1 - start) / (time.monotonic() - began)
            log.info("vae %d/%d mse %.4f kl %.2f, %.2f steps/s", step + 1, plan.vae_steps,
                     error.square().mean(), divergence, speed)  # fmt: skip
        if (step + 1) % plan.checkpoint_every == 0:
            _save_state(state_path, {"model": vae.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1})
    _measure_latents(vae, plan)
    _save_model(vae, folder / "vae")
    return vae


@torch.no_grad()
def _measure_latents(vae: Any, plan: Plan) -> None:
    """Store each latent channel's mean and deviation in the VAE, where LTXPipeline looks for them."""
    rng, _ = _seeded(plan.seed, 2)
    latents = vae.encode(_render_batch(rng, 128)).latent_dist.mean
    vae.latents_mean.copy_(latents.mean((0, 2, 3, 4)))
    vae.latents_std.copy_(latents.std((0, 2, 3, 4)))


@torch.no_grad()
def encode_texts(texts: list[str], tokenizer: Any, encoder: torch.nn.Module) -> tuple[torch.Tensor, list[int]]:
    """Hidden states [tokens of all texts, 384] and each text's number of tokens.

    Texts are padded to `TEXT_TOKENS` and encoded without a mask, as LTXPipeline does; the padding's states, which the
    transformer masks, are dropped.
    """
    tokens = tokenizer(texts, padding="max_length", max_length=TEXT_TOKENS, truncation=True, return_tensors="pt")
    states = encoder(tokens.input_ids)[0]
    mask = tokens.attention_mask.bool()
    return states[mask], mask.sum(1).tolist()


@torch.no_grad()
def fill_cache(folder: Path, vae: Any, text_encoder: Path, plan: Plan) -> None:
    """Write the training set's normalised latents and text states, one file for every `plan.part` clips."""
    parts = [folder / "cache" / f"{part}.safetensors" for part in range(-(-plan.clips // plan.part))]
    missing = [(index, path) for index, path in enumerate(parts) if not path.exists()]
    empty_path = folder / "cache" / "empty.safetensors"
    if not missing and empty_path.exists():
        return
    tokenizer = AutoTokenizer.from_pretrained(text_encoder)
    encoder = AutoModel.from_pretrained(text_encoder, dtype=torch.float32).eval()
    mean, std = (stat.view(1, -1, 1, 1, 1) for stat in (vae.latents_mean, vae.latents_std))
    for index, path in missing:
        rng, _ = _seeded(plan.seed, 3, index)
        latents, states, lengths = [], [], []
        for _ in range(plan.part // plan.encode_batch):
            scenes = [random_scene(rng) for _ in range(plan.encode_batch)]
            clips = np.stack([render(scene, rng) for scene in scenes])
            pixels = torch.from_numpy(clips).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
            with torch.autocast("cpu", dtype=torch.bfloat16):
                encoded = vae.encode(pixels).latent_dist.mean.float()
                text, count = encode_texts([caption(scene, rng) for scene in scenes], tokenizer, encoder)
            latents.append(((encoded - mean) / std).permute(0, 2, 3, 4, 1).flatten(1, 3).half())
            states.append(text.bfloat16())
            lengths += count
        with atomic_path(path) as partial:
            save_file(
                {"latents": torch.cat(latents), "states": torch.cat(states), "lengths": torch.tensor(lengths)}, partial
            )
        log.info("cache %d/%d", index + 1, len(parts))
    empty = encode_texts([""], tokenizer, encoder)[0].bfloat16()
    with atomic_path(empty_path) as partial:
        save_file({"states": empty}, partial)


class Cache:
    """The training set in memory: latents [N, 128, 16] and ragged text states."""

    def __init__(self, folder: Path) -> None:
        parts = [load_file(path) for path in sorted(folder.glob("[0-9]*.safetensors"), key=lambda p: int(p.stem))]
        self.latents = torch.cat([part["latents"] for part in parts])
        self.states = torch.cat([part["states"] for part in parts])
        lengths = torch.cat([part["lengths"] for part in parts])
        self.ends = lengths.cumsum(0).tolist()
        self.empty = load_file(folder / "empty.safetensors")["states"]

    def batch(self, rng: np.random.Generator, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Latents [B, 128, 16], text states [B, L, 384] and their mask [B, L]; a tenth of the texts are empty."""
        rows = rng.integers(0, len(self.latents), size).tolist()
        drop = rng.random(size) < 0.1
        texts = [
            self.empty if drop[i] else self.states[(self.ends[row - 1] if row else 0) : self.ends[row]]
            for i, row in enumerate(rows)
        ]
        states = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True).float()
        mask = torch.arange(states.shape[1])[None] < torch.tensor([len(text) for text in texts])[:, None]
        return self.latents[rows].float(), states, mask


def train_transformer(folder: Path, plan: Plan) -> None:
    """Train (or resume) the transformer by flow matching; saves its moving average to `folder/transformer`."""
    cache = Cache(folder / "cache")
    torch.manual_seed(plan.seed)
    model = build_transformer().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.lr, betas=(0.9, 0.98), weight_decay=0.01)
    average = EMAModel(model.parameters(), decay=0.999, use_ema_warmup=True, power=0.75)
    state_path, start = folder / "transformer.state.pt", 0
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.load_state_dict(state["average"])
        start = state["step"]
    began, losses = time.monotonic(), []
    for step in range(start, plan.steps):
        rng, noise_rng = _seeded(plan.seed, 4, step)
        latents, states, mask = cache.batch(rng, plan.batch)
        noise = torch.randn(latents.shape, generator=noise_rng)
        # Eight alike frames outvote mild noise, so the content is decided at high noise levels: lean towards them.
        sigma = torch.sigmoid(0.6 + 1.3 * torch.randn(plan.batch, generator=noise_rng))
        noisy = (1 - sigma)[:, None, None] * latents + sigma[:, None, None] * noise
        for group in optimizer.param_groups:
            group["lr"] = plan.lr * _warm_decay(step, plan.steps, plan.decay_steps)
        with torch.autocast("cpu", dtype=torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            velocity = model(
                hidden_states=noisy,
                encoder_hidden_states=states,
                timestep=sigma * 1000,
                encoder_attention_mask=mask,
                num_frames=FRAMES,
                height=LATENT_SIZE,
                width=LATENT_SIZE,
                rope_interpolation_scale=rope_scale(),
                return_dict=False,
            )[0]
        loss = (velocity.float() - (noise - latents)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.step(model.parameters())
        losses.append(loss.item())
        if (step + 1) % 50 == 0:
            speed = (step + 1 - start) / (time.monotonic() - began)
            log.info("transformer %d/%d loss %.4f, %.2f steps/s, %.0f min left", step + 1, plan.steps,
                     np.mean(losses[-50:]), speed, (plan.steps - step - 1) / speed / 60)  # fmt: skip
        if (step + 1) % plan.checkpoint_every == 0 or step + 1 == plan.steps:
            _save_state(
                state_path,
                {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "average": average.state_dict(),
                    "step": step + 1,
                },
            )
            _save_average(model, average, folder / "transformer")
    _save_average(model, average, folder / "transformer")  # what a run killed after its last state had not saved


def export(folder: Path, target: Path) -> None:
    """Write what a repository ships: both models in half precision, and the sampler's settings.

    Args:
        folder: A training folder with `vae/` and `transformer/`.
        target: Gets `vae/`, `transformer/` and `scheduler/`; the text encoder comes from its own package.
    """
    vae: Any = AutoencoderKLLTXVideo.from_pretrained(folder / "vae")
    transformer: Any = LTXVideoTransformer3DModel.from_pretrained(folder / "transformer")
    vae.half().save_pretrained(target / "vae")
    transformer.half().save_pretrained(target / "transformer")
    scheduler: Any = FlowMatchEulerDiscreteScheduler(shift=SHIFT)
    scheduler.save_pretrained(target / "scheduler")
