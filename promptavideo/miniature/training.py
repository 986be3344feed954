"""Train the miniature generator from nothing: a VAE, then a diffusion transformer on cached latents.

Both are stock diffusers classes of `LattePipeline`; only their sizes are ours. The text encoder (all-MiniLM-L6-v2)
stays frozen. Every phase resumes: the VAE and the transformer from their last checkpoint, the cache from its last full
part.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, LatteTransformer3DModel
from safetensors.torch import load_file, save_file
from torch.nn.attention import SDPBackend, sdpa_kernel

from promptavideo.dtypes import autocast
from promptavideo.files import atomic_path
from promptavideo.miniature import fitting
from promptavideo.miniature.assembly import drop_paths, load_text_encoder
from promptavideo.miniature.world import ANYWHERE, FRAMES, SIZE, caption, random_scene, render
from promptavideo.tokenization import load_tokenizer

log = logging.getLogger(__name__)

TEXT_TOKENS = 120  # LattePipeline pads every text to it
LATENT_CHANNELS, LATENT_SIZE = 8, 8  # a clip's latents are [8, 8, 8, 8]: channels, frames, height, width


@dataclass(frozen=True, kw_only=True)
class Plan(fitting.Schedule):
    """Sizes of a training run."""

    vae_steps: int = 2200
    vae_batch: int = 8
    vae_lr: float = 1e-3
    clips: int = 32768
    steps: int = 6000
    lr: float = 1e-3
    decay_steps: int = 1500
    part: int = 2048  # clips in one file of the cache
    encode_batch: int = 64  # clips encoded at once; divides `part`


def build_vae() -> Any:
    """A per-frame VAE (`AutoencoderKL`) that compresses 4 times in space only: compressing time blurs motion."""
    return AutoencoderKL(
        block_out_channels=(32, 64, 96),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=SIZE,
    )


def build_transformer() -> Any:
    """Some five million weights (`LatteTransformer3DModel`) over the VAE's latents and MiniLM's text states."""
    return LatteTransformer3DModel(
        num_attention_heads=3,
        attention_head_dim=64,
        in_channels=LATENT_CHANNELS,
        out_channels=2 * LATENT_CHANNELS,  # LattePipeline drops the second half, a variance that is not learned
        num_layers=4,
        cross_attention_dim=192,
        attention_bias=True,
        sample_size=LATENT_SIZE,
        patch_size=2,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
        caption_channels=384,
        video_length=FRAMES,
    )


def build_scheduler() -> Any:
    """The noise schedule of training and sampling: v-prediction, its last step is pure noise."""
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )


def train(folder: Path, text_encoder: Path, plan: Plan, device: str = "cpu") -> None:
    """Run every unfinished phase; leaves `vae/` and `transformer/` (diffusers format) in `folder`.

    Args:
        folder: Checkpoints and the cached training set.
        text_encoder: A folder with the text encoder and its tokenizer.
        plan: Sizes.
        device: Where the VAE and the transformer train; what is drawn is drawn on the CPU and does not depend on it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vae = train_vae(folder, plan, device)
    fill_cache(folder, vae, text_encoder, plan)
    train_transformer(folder, plan, device)


def _pixels(clips: list[np.ndarray]) -> torch.Tensor:
    """Clips [T, H, W, 3] as one batch of frames [B * T, 3, H, W] in -1..1."""
    return torch.from_numpy(np.concatenate(clips)).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_vae(folder: Path, plan: Plan, device: str = "cpu") -> Any:
    """Train (or load) the VAE.

    The loss, on frames in -1..1, is MSE + 3 x chroma MSE + 0.3 L1 + 0.3 L1 of the differences between neighbouring
    pixels (edges tell focus and shape) + a small KL.
    """
    if (folder / "vae" / "config.json").exists():
        return AutoencoderKL.from_pretrained(folder / "vae").to(device)
    torch.manual_seed(plan.seed)
    vae = build_vae().to(device, memory_format=torch.channels_last)
    optimizer = fitting.optimizer_of(vae, weight_decay=1e-4)
    path, trained = folder / "vae.state.pt", {"model": vae, "optimizer": optimizer}
    start = fitting.load_state(path, trained)
    schedule = fitting.Schedule(steps=plan.vae_steps, lr=plan.vae_lr, decay_steps=plan.vae_steps // 2)
    began = time.monotonic()
    for step in range(start, plan.vae_steps):
        rng, noise = fitting.seeded(plan.seed, 1, step)
        frames = _pixels([render(random_scene(rng), rng, ANYWHERE) for _ in range(plan.vae_batch)])
        frames = frames.to(device, memory_format=torch.channels_last)
        with autocast(vae.device.type):
            posterior = vae.encode(frames).latent_dist
            output = vae.decode(posterior.sample(noise)).sample
        error = output.float() - frames
        chroma = error - error.mean(1, keepdim=True)
        edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        reconstruction = error.square().mean() + 3 * chroma.square().mean() + 0.3 * error.abs().mean() + 0.3 * edges
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        loss = reconstruction + 3e-4 * divergence
        fitting.descend(vae, optimizer, loss, step, schedule)
        if (step + 1) % 50 == 0:
            speed = (step + 1 - start) / (time.monotonic() - began)
            log.info("vae %d/%d mse %.5f kl %.2f, %.2f steps/s", step + 1, plan.vae_steps,
                     error.detach().square().mean(), divergence.detach(), speed)  # fmt: skip
        if (step + 1) % plan.checkpoint_every == 0:
            fitting.save_state(path, step + 1, trained)
    vae.register_to_config(scaling_factor=_scaling_factor(vae, plan))
    fitting.save_model(vae, folder / "vae")
    return vae


@torch.no_grad()
def _scaling_factor(vae: Any, plan: Plan) -> float:
    """The factor that gives latents unit deviation."""
    rng, _ = fitting.seeded(plan.seed, 2)
    pixels = _pixels([render(random_scene(rng), rng, ANYWHERE) for _ in range(64)])
    latents = vae.encode(pixels.to(vae.device)).latent_dist.mean
    return 1 / float(latents.std())


@torch.no_grad()
def encode_texts(
    texts: list[str], tokenizer: Any, encoder: torch.nn.Module, limit: int = TEXT_TOKENS
) -> tuple[torch.Tensor, list[int]]:
    """Hidden states [tokens of all texts, 384] and each text's number of tokens; padding is dropped.

    LattePipeline and PixArtSigmaPipeline lower-case texts and encode at most `limit` tokens of them, with a mask.
    """
    lower = [text.lower().strip() for text in texts]
    tokens = tokenizer(lower, padding=True, max_length=limit, truncation=True, return_tensors="pt")
    states = encoder(tokens.input_ids, attention_mask=tokens.attention_mask)[0]
    mask = tokens.attention_mask.bool()
    return states[mask], mask.sum(1).tolist()


@torch.no_grad()
def fill_cache(folder: Path, vae: Any, text_encoder: Path, plan: Plan) -> None:
    """Write the training set's scaled latents and text states, one file for every `plan.part` clips."""
    parts = [folder / "cache" / f"{part}.safetensors" for part in range(-(-plan.clips // plan.part))]
    missing = [(index, path) for index, path in enumerate(parts) if not path.exists()]
    empty_path = folder / "cache" / "empty.safetensors"
    if not missing and empty_path.exists():
        return
    tokenizer = load_tokenizer(text_encoder)
    encoder = load_text_encoder(text_encoder)
    for index, path in missing:
        rng, _ = fitting.seeded(plan.seed, 3, index)
        latents, states, lengths = [], [], []
        for _ in range(plan.part // plan.encode_batch):
            scenes = [random_scene(rng) for _ in range(plan.encode_batch)]
            pixels = _pixels([render(scene, rng) for scene in scenes])
            with autocast(vae.device.type):
                encoded = vae.encode(pixels.to(vae.device)).latent_dist.mean.float() * vae.config.scaling_factor
            with autocast("cpu"):
                text, count = encode_texts([caption(scene, rng) for scene in scenes], tokenizer, encoder)
            latents.append(encoded.cpu().unflatten(0, (-1, FRAMES)).transpose(1, 2).half())
            states.append(text.bfloat16())
            lengths += count
        with atomic_path(path) as partial:
            save_file(
                {"latents": torch.cat(latents).contiguous(), "states": torch.cat(states),
                 "lengths": torch.tensor(lengths)}, partial
            )  # fmt: skip
        log.info("cache %d/%d", index + 1, len(parts))
    # Without a prompt LattePipeline gives the states of an empty text, its padding included.
    empty = tokenizer([""], padding="max_length", max_length=TEXT_TOKENS, return_tensors="pt")
    states = encoder(empty.input_ids, attention_mask=empty.attention_mask)[0][0].bfloat16()
    with atomic_path(empty_path) as partial:
        save_file({"states": states}, partial)


class Cache:
    """The training set in memory: latents [N, 8, 8, 8, 8] (channels, frames, height, width) and ragged text states."""

    def __init__(self, folder: Path) -> None:
        parts = fitting.load_parts(folder)
        self.latents, self.texts = parts["latents"], parts["states"].split(parts["lengths"].tolist())
        self.empty = load_file(folder / "empty.safetensors")["states"].float()

    def batch(self, rng: np.random.Generator, size: int, empty: bool) -> tuple[torch.Tensor, ...]:
        """Latents [B, 8, 8, 8, 8], and the `padded` states of their captions or, if `empty`, of the empty text."""
        rows = rng.integers(0, len(self.latents), size).tolist()
        latents = self.latents[rows].float()
        if empty:
            return latents, self.empty.expand(size, -1, -1), torch.zeros(size * FRAMES, 1, TEXT_TOKENS)
        return latents, *padded([self.texts[row] for row in rows])


def padded(texts: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts' states [B, L, 384] and their attention bias [B * 8, 1, L], from ragged states [L, 384].

    LattePipeline pads to 120 tokens and attends to the padding, whose states are all zero. One zero token whose bias is
    the logarithm of its count stands for them all: the same attention at a third of the cost.
    """
    longest = max(len(text) for text in texts)
    states = torch.zeros(len(texts), longest + 1, texts[0].shape[1])
    bias = torch.full((len(texts), 1, longest + 1), -10000.0)
    for place, text in enumerate(texts):
        states[place, : len(text)] = text
        bias[place, 0, : len(text)] = 0
        bias[place, 0, longest] = math.log(max(TEXT_TOKENS - len(text), 1))
    return states, bias.repeat_interleave(FRAMES, 0)


def train_transformer(folder: Path, plan: Plan, device: str = "cpu") -> None:
    """Train (or resume) the transformer by v-prediction; saves its moving average to `folder/transformer`."""

    def predict(model: Any, *given: torch.Tensor) -> torch.Tensor:
        with sdpa_kernel(SDPBackend.MATH):
            return velocity(model, *given)

    # Eight alike frames outvote mild noise, so content and motion are decided late in the schedule: lean there.
    fit_velocity(folder, plan, Cache(folder / "cache"), build_transformer, predict, 4, 0.5, device)


class Batches(Protocol):
    """A training set of latents and texts."""

    def batch(self, rng: np.random.Generator, size: int, empty: bool) -> tuple[torch.Tensor, ...]:
        """Latents [B, C, ...], and what the transformer reads of their texts or, if `empty`, of the empty text."""


def fit_velocity(
    folder: Path,
    plan: fitting.Schedule,
    cache: Batches,
    build: Callable[[], Any],
    predict: Callable[..., torch.Tensor],
    stream: int,
    lean: float,
    device: str,
) -> None:
    """Train (or resume) a transformer by v-prediction; saves its moving average to `folder/transformer`.

    Args:
        folder: Gets the model and its checkpoint.
        plan: Steps and batches; every tenth batch is without texts, for guidance.
        cache: The training set.
        build: Makes the untrained transformer.
        predict: Its velocity, of the model, noisy latents, timesteps [B] and what `cache` gives beside the latents.
        stream: Names the random stream of the steps.
        lean: Noise levels are a uniform draw to this power; below 1 they lean towards high noise.
        device: Where it trains.
    """
    torch.manual_seed(plan.seed)
    model = build().train()
    torch.nn.init.zeros_(model.proj_out.weight)
    torch.nn.init.zeros_(model.proj_out.bias)
    model.to(device)
    alphas = build_scheduler().alphas_cumprod.to(device)

    def loss_of(step: int) -> torch.Tensor:
        rng, noise_rng = fitting.seeded(plan.seed, stream, step)
        latents, *texts = (part.to(device) for part in cache.batch(rng, plan.batch, empty=step % 10 == 9))
        noise = torch.randn(latents.shape, generator=noise_rng).to(device)
        times = 999 * torch.rand(plan.batch, generator=noise_rng).pow(lean)
        times = times.round().long().to(device)
        shape = (-1, *[1] * (latents.ndim - 1))
        signal, spread = alphas[times].sqrt().view(shape), (1 - alphas[times]).sqrt().view(shape)
        found = predict(model, signal * latents + spread * noise, times, *texts)
        return (found - (signal * noise - spread * latents)).square().mean()

    fitting.fit("transformer", model, folder, plan, 0.999, loss_of)


def velocity(
    model: Any, latents: torch.Tensor, times: torch.Tensor, states: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """The velocity [B, C, T, H, W] that a transformer predicts for noisy latents of that shape.

    Args:
        model: The transformer; its other outputs, variances that are not learned, are dropped.
        latents: On the model's device.
        times: Timesteps [B].
        states: Text states [B, L, 384].
        bias: Their attention bias [B * T, 1, L].
    """
    with autocast(latents.device.type):
        output = model(
            hidden_states=latents,
            timestep=times,
            encoder_hidden_states=states.to(latents.device),
            encoder_attention_mask=bias.to(latents.device),
            return_dict=False,
        )[0]
    predicted: torch.Tensor = output.chunk(2, dim=1)[0].float()
    return predicted


def export(folder: Path, target: Path, transformer: Any = LatteTransformer3DModel) -> None:
    """Write what a repository ships: both models in half precision, and the sampler's settings.

    Args:
        folder: A training folder with `vae/` and `transformer/`.
        target: Gets `vae/`, `transformer/` and `scheduler/`; the text encoder comes from its own package.
        transformer: Its class.
    """
    for name, kind in (("vae", AutoencoderKL), ("transformer", transformer)):
        model: Any = kind.from_pretrained(folder / name)
        model.half().save_pretrained(target / name)
        (target / name / "diffusion_pytorch_model.safetensors").chmod(0o644)  # saved for its owner alone
    build_scheduler().save_pretrained(target / "scheduler")
    drop_paths(target)
