"""LTX, Wan and CogVideoX pipelines of some ten thousand random weights, of the real classes, saved as the large are."""

import io
import json
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLLTXVideo,
    AutoencoderKLWan,
    CogVideoXDPMScheduler,
    CogVideoXTransformer3DModel,
    FlowMatchEulerDiscreteScheduler,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from transformers import T5Config, T5EncoderModel, T5Tokenizer, UMT5Config, UMT5EncoderModel

ROOT = Path(__file__).parents[1]
WORDS = ("a", "red", "blue", "green", "ball", "box", "moves", "left", "right", "blurry")

LTX_SAMPLING: dict[str, Any] = {
    "height": 32, "width": 32, "num_frames": 9, "num_inference_steps": 2, "guidance_scale": 3.0,
    "max_sequence_length": 8, "frame_rate": 8,
}  # fmt: skip
WAN_SAMPLING: dict[str, Any] = {
    "height": 32, "width": 32, "num_frames": 5, "num_inference_steps": 2, "guidance_scale": 3.0,
    "max_sequence_length": 8,
}  # fmt: skip


def tiny_lora(folder: Path, pipeline: Path, layers: tuple[str, ...] = ("to_q", "to_v"), alpha: int = 2) -> Path:
    """Save a random adapter of a pipeline's transformer into `folder`, as its trainers publish it."""
    from diffusers import DiffusionPipeline
    from peft import LoraConfig, get_peft_model_state_dict

    torch.manual_seed(1)
    loaded: Any = DiffusionPipeline.from_pretrained(pipeline)
    settings = LoraConfig(r=2, lora_alpha=alpha, target_modules=list(layers), init_lora_weights=False)
    loaded.transformer.add_adapter(settings)
    weights = get_peft_model_state_dict(loaded.transformer)
    loaded.save_lora_weights(
        folder, transformer_lora_layers=weights, transformer_lora_adapter_metadata=settings.to_dict()
    )
    return folder


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


def tiny_wan(folder: Path, transformers: int = 1) -> Path:
    """Save a random WanPipeline into `folder`, of 2.1's or 2.2's form with one or two transformers.

    Frames come in 4N+1, sides in multiples of 16.
    """
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
    denoisers = [
        WanTransformer3DModel(
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
        for _ in range(transformers)
    ]
    encoder = UMT5EncoderModel(UMT5Config(**_text(), is_encoder_decoder=False))
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    parts = [_tokenizer(), encoder, vae, scheduler, *denoisers]
    return _save(WanPipeline(*parts, boundary_ratio=0.875 if transformers > 1 else None), folder)


def tiny_cogvideox(folder: Path) -> Path:
    """Save a random CogVideoXPipeline into `folder`, its tokenizer as a `spiece.model` alone, as it is published.

    Frames come in 4N+1, sides in multiples of 16.
    """
    torch.manual_seed(0)
    parts: dict[str, Any] = {
        "scheduler": CogVideoXDPMScheduler(timestep_spacing="linspace"),
        "text_encoder": T5EncoderModel(T5Config(**_text() | {"vocab_size": 512}, is_encoder_decoder=False)),
        "transformer": CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=4,
            out_channels=4,
            time_embed_dim=8,
            text_embed_dim=8,
            num_layers=2,
            sample_width=6,
            sample_height=4,
            use_rotary_positional_embeddings=True,
        ),
        "vae": AutoencoderKLCogVideoX(
            block_out_channels=(8, 8, 8, 8),
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
            sample_height=480,
            sample_width=720,
        ),
    }
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    tokenizer, index = folder / "tokenizer", {"_class_name": "CogVideoXPipeline", "_diffusers_version": "0.30.0.dev0"}
    tokenizer.mkdir()
    (tokenizer / "spiece.model").write_bytes(_pieces())
    special = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "extra_ids": 0, "model_max_length": 226}
    (tokenizer / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", **special}))
    libraries = {name: "transformers" if name == "text_encoder" else "diffusers" for name in parts}
    classes = {name: [libraries[name], type(part).__name__] for name, part in parts.items()}
    index |= classes | {"tokenizer": ["transformers", "T5Tokenizer"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def _pieces() -> bytes:
    """A SentencePiece model of T5's form, trained on the instruction texts."""
    texts = (file.read_text(encoding="utf-8") for file in sorted((ROOT / "templates").glob("*.txt")))
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(line for text in texts for line in text.splitlines() if line.strip()),
        model_writer=written,
        vocab_size=400,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return written.getvalue()


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
