"""Pipelines of some ten thousand random weights, of the real classes, saved as the large are."""

import io
import json
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLHunyuanVideo15,
    AutoencoderKLLTXVideo,
    AutoencoderKLWan,
    ClassifierFreeGuidance,
    CogVideoXDPMScheduler,
    CogVideoXTransformer3DModel,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideo15Pipeline,
    HunyuanVideo15Transformer3DModel,
    LTXConditionPipeline,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from tiny import TEXTS
from tokenizers import pre_tokenizers
from transformers import (
    ByT5Tokenizer,
    Qwen2_5_VLTextConfig,
    Qwen2_5_VLTextModel,
    Qwen2Tokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

WORDS = ("a", "red", "blue", "green", "ball", "box", "moves", "left", "right", "blurry")

LTX_SAMPLING: dict[str, Any] = {
    "height": 32, "width": 32, "num_frames": 9, "num_inference_steps": 2, "guidance_scale": 3.0,
    "max_sequence_length": 8, "frame_rate": 8,
}  # fmt: skip
LTX_DISTILLED_SAMPLING: dict[str, Any] = {
    "height": 32, "width": 32, "num_frames": 9, "timesteps": [1000, 993.7, 725], "guidance_scale": 1.0,
    "max_sequence_length": 8, "frame_rate": 8,
}  # fmt: skip
COGVIDEOX_SAMPLING: dict[str, Any] = {"height": 32, "width": 32, "num_frames": 9, "num_inference_steps": 2}
HUNYUAN_SAMPLING: dict[str, Any] = {"height": 32, "width": 32, "num_frames": 5, "num_inference_steps": 2}
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


def tiny_ltx_condition(folder: Path) -> Path:
    """Save a random LTXConditionPipeline into `folder`, otherwise as `tiny_ltx`."""
    return tiny_ltx(folder, LTXConditionPipeline)


def tiny_ltx(folder: Path, kind: Any = LTXPipeline) -> Path:
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
    pipeline = kind(FlowMatchEulerDiscreteScheduler(), vae, encoder, text_tokenizer(), transformer)
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
    parts = [text_tokenizer(), encoder, vae, scheduler, *denoisers]
    return _save(WanPipeline(*parts, boundary_ratio=0.875 if transformers > 1 else None), folder)


def tiny_hunyuan(folder: Path) -> Path:
    """Save a random HunyuanVideo15Pipeline into `folder`; frames come in 4N+1, sides in multiples of 16."""
    torch.manual_seed(0)
    bytes_ = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Qwen2Tokenizer(vocab={letter: place for place, letter in enumerate(sorted(bytes_))}, merges=[])
    tokenizer.chat_template = "{% for turn in messages %}{{ turn['content'] }}{{ '\n' }}{% endfor %}"
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    layers = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2}
    encoder = Qwen2_5_VLTextModel(
        Qwen2_5_VLTextConfig(vocab_size=len(tokenizer), num_key_value_heads=2, rope_parameters=rope, **layers)
    )
    letters = ByT5Tokenizer(extra_ids=0)
    transformer = HunyuanVideo15Transformer3DModel(
        in_channels=9,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        num_refiner_layers=1,
        mlp_ratio=2.0,
        patch_size=1,
        patch_size_t=1,
        text_embed_dim=16,
        text_embed_2_dim=8,
        image_embed_dim=8,
        rope_axes_dim=(2, 2, 4),
    )
    vae = AutoencoderKLHunyuanVideo15(latent_channels=4, block_out_channels=(8, 8, 8, 8, 8), layers_per_block=1)
    glyphs = T5EncoderModel(T5Config(**_text() | {"vocab_size": len(letters)}, is_encoder_decoder=False))
    scheduler = FlowMatchEulerDiscreteScheduler(shift=5.0)
    parts = (
        encoder,
        tokenizer,
        transformer,
        vae,
        scheduler,
        glyphs,
        letters,
        ClassifierFreeGuidance(guidance_scale=6.0),
    )
    return _save(HunyuanVideo15Pipeline(*parts), folder)


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
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(line for text in TEXTS for line in text.splitlines() if line.strip()),
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
    vocabulary = len(text_tokenizer())
    return {"vocab_size": vocabulary, "d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2}


def text_encoder() -> T5EncoderModel:
    """A random T5 of one layer that takes what `text_tokenizer` gives."""
    return T5EncoderModel(T5Config(**_text(), is_encoder_decoder=False))


def text_tokenizer() -> T5Tokenizer:
    """A T5 tokenizer of a few words, which reads 8 tokens."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocabulary = [*special, ("▁", -3.0), *((f"▁{word}", -2.0) for word in WORDS)]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=8)


def _save(pipeline: Any, folder: Path) -> Path:
    pipeline.save_pretrained(folder)
    return folder
