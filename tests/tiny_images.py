"""Text-to-image pipelines of some ten thousand random weights, of the real classes, one a family of encoders."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from tiny_judges import letters
from tiny_pipelines import text_encoder, text_tokenizer
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

SIZE: dict[str, Any] = {"height": 32, "width": 32, "num_inference_steps": 2}
STABLE_DIFFUSION: dict[str, Any] = {
    "pipeline": "StableDiffusionPipeline", "sampling": {**SIZE, "guidance_scale": 5.0}
}  # fmt: skip
PIXART: dict[str, Any] = {
    "pipeline": "PixArtSigmaPipeline",
    "sampling": {**SIZE, "guidance_scale": 4.5, "use_resolution_binning": False, "max_sequence_length": 8},
}
FLUX: dict[str, Any] = {
    "pipeline": "FluxPipeline", "sampling": {**SIZE, "guidance_scale": 3.5, "max_sequence_length": 8}
}  # fmt: skip


def tiny_stable_diffusion(folder: Path) -> Path:
    """Save a random StableDiffusionPipeline into `folder`: one CLIP, which reads 77 tokens."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8, layers_per_block=1, block_out_channels=(8, 8), norm_num_groups=4, cross_attention_dim=16,
        attention_head_dim=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    scheduler = DDIMScheduler(steps_offset=1, clip_sample=False)
    pipeline = StableDiffusionPipeline(
        vae=_vae(4), text_encoder=_clip(), tokenizer=_clip_tokenizer(), unet=unet, scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder


def tiny_pixart(folder: Path) -> Path:
    """Save a random PixArtSigmaPipeline into `folder`: one T5."""
    torch.manual_seed(0)
    transformer = PixArtTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=2,
        cross_attention_dim=16, sample_size=4, caption_channels=8, use_additional_conditions=False,
    )  # fmt: skip
    pipeline = PixArtSigmaPipeline(
        text_tokenizer(), text_encoder(), _vae(4), transformer, DPMSolverMultistepScheduler()
    )
    pipeline.save_pretrained(folder)
    return folder


def tiny_flux(folder: Path) -> Path:
    """Save a random FluxPipeline into `folder`: a T5 that reads the text, and a CLIP for its gist."""
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=8, pooled_projection_dim=16, axes_dims_rope=(2, 2, 4), guidance_embeds=True,
    )  # fmt: skip
    pipeline = FluxPipeline(
        FlowMatchEulerDiscreteScheduler(), _vae(4, shift_factor=0.1), _clip(), _clip_tokenizer(),
        text_encoder(), text_tokenizer(), transformer,
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder


def _vae(channels: int, **settings: Any) -> AutoencoderKL:
    return AutoencoderKL(
        latent_channels=channels, block_out_channels=(4, 8, 8, 8), norm_num_groups=2, layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, **settings,
    )  # fmt: skip


def _clip() -> CLIPTextModel:
    size = len(letters()) + 2
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=size, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
            projection_dim=8, bos_token_id=size - 2, eos_token_id=size - 1, pad_token_id=size - 1,
        )
    )  # fmt: skip


def _clip_tokenizer() -> CLIPTokenizer:
    tokens = [*letters(), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)
