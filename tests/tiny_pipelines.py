"""LTX and Wan pipelines of some ten thousand random weights, of the real classes, saved as the large ones are."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLLTXVideo,
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from transformers import T5Config, T5EncoderModel, T5Tokenizer, UMT5Config, UMT5EncoderModel

WORDS = ("a", "red", "blue", "green", "ball", "box", "moves", "left", "right", "blurry")

LTX_SAMPLING: dict[str, Any] = {
    "height": 32, "width": 32, "num_frames": 9, "num_inference_steps": 2, "guidance_scale": 3.0,
    "max_sequence_length": 8, "frame_rate": 8,
}  # fmt: skip
WAN_SAMPLING: dict[str, Any] = {
    "height": 32, "width": 32, "num_frames": 5, "num_inference_steps": 2, "guidance_scale": 3.0,
    "max_sequence_length": 8,
}  # fmt: skip


def tiny_ltx(folder: Path) -> Path:
    """Save a random LTXPipeline into `folder`; frames come in 8N+1, sides in multiples of 32."""
    torch.manual_seed(0)
    vae = AutoencoderKLLTXVideo(
        latent_channels=4,
        block_out_channels=(4, 4, 4, 4),
        decoder_block_out_channels=(4, 4, 4, 4),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
    )
    transformer = LTXVideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        num_layers=2,
        caption_channels=8,
    )
    encoder = T5EncoderModel(T5Config(**_text(), is_encoder_decoder=False))
    pipeline = LTXPipeline(FlowMatchEulerDiscreteScheduler(), vae, encoder, _tokenizer(), transformer)
    return _save(pipeline, folder)


def tiny_wan(folder: Path) -> Path:
    """Save a random WanPipeline into `folder`; frames come in 4N+1, sides in multiples of 16."""
    torch.manual_seed(0)
    vae = AutoencoderKLWan(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    transformer = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=4,
        text_dim=8,
        freq_dim=8,
        ffn_dim=16,
        num_layers=2,
        rope_max_seq_len=32,
    )
    encoder = UMT5EncoderModel(UMT5Config(**_text(), is_encoder_decoder=False))
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    return _save(WanPipeline(_tokenizer(), encoder, vae, scheduler, transformer), folder)


def _text() -> dict[str, Any]:
    vocabulary = len(_tokenizer())
    return {"vocab_size": vocabulary, "d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2}


def _tokenizer() -> T5Tokenizer:
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocabulary = [*special, ("▁", -3.0), *((f"▁{word}", -2.0) for word in WORDS)]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=8)


def _save(pipeline: Any, folder: Path) -> Path:
    pipeline.save_pretrained(folder)
    return folder
