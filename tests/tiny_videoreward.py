"""A random VideoReward of some thousand weights: the base's files, and the pickled state dict, as each is published."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import Qwen2VLConfig, Qwen2VLModel

from promptavideo.files import sha256
from promptavideo.models import LocalModel, UrlModel, fetch

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
CHAT = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% for turn in messages %}<|im_start|>{{ turn.role }}\n"
    "{% for part in turn.content %}{{ part.text or '<|vision_start|><|video_pad|><|vision_end|>' }}{% endfor %}"
    "<|im_end|>\n{% endfor %}{{ '<|im_start|>assistant\n' }}"
)
"""Writes what Qwen2-VL's template makes of one video and a text."""
WIDTH, RANK = 32, 4


def base(folder: Path) -> Path:
    """Qwen2-VL's configuration and tokenizer, whose tokens are bytes."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE(vocab={letter: place for place, letter in enumerate(letters)}, merges=[]))
    bpe.normalizer, bpe.decoder = normalizers.NFC(), decoders.ByteLevel()
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.post_processor = processors.ByteLevel(trim_offsets=False)
    bpe.add_special_tokens(list(SPECIAL))
    folder.mkdir(parents=True)
    bpe.save(str(folder / "tokenizer.json"))
    ids = {token: bpe.token_to_id(token) for token in SPECIAL}
    tokens = {
        "tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
        "bos_token": None, "unk_token": None, "add_prefix_space": False, "clean_up_tokenization_spaces": False,
        "additional_special_tokens": list(SPECIAL[1:]), "chat_template": CHAT, "model_max_length": 32768,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(tokens))
    config = {
        "architectures": ["Qwen2VLForConditionalGeneration"], "model_type": "qwen2_vl",
        "bos_token_id": ids["<|endoftext|>"], "eos_token_id": ids["<|im_end|>"],
        "vision_start_token_id": ids["<|vision_start|>"], "vision_end_token_id": ids["<|vision_end|>"],
        "vision_token_id": ids["<|vision_pad|>"], "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"], "hidden_act": "silu", "hidden_size": WIDTH, "intermediate_size": 48,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 8192,
        "max_window_layers": 2, "sliding_window": 8192, "use_sliding_window": False, "rms_norm_eps": 1e-6,
        "rope_theta": 1e6, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}, "tie_word_embeddings": True,
        "torch_dtype": "bfloat16", "vocab_size": len(letters) + 2 * len(SPECIAL),
        "vision_config": {
            "depth": 2, "embed_dim": 32, "mlp_ratio": 2, "num_heads": 2, "in_chans": 3, "hidden_size": WIDTH,
            "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14, "temporal_patch_size": 2,
        },
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def values(name: str, shape: torch.Size | tuple[int, ...]) -> torch.Tensor:
    """Weights that follow from their name alone, exact in bfloat16."""
    if name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "layernorm.weight", "ln_q.weight")):
        return torch.ones(shape)
    spread = 0.1 if len(shape) == 1 else 1 / np.sqrt(np.prod(shape[1:]))
    drawn = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(tuple(shape)) * spread
    return torch.from_numpy(drawn).bfloat16().float()


def state(folder: Path) -> dict[str, torch.Tensor]:
    """All weights under their published names, for the base in `folder`, with an adapter of the language model."""
    config = Qwen2VLConfig.from_pretrained(folder)
    config.text_config.vocab_size = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size() + 3
    found: dict[str, torch.Tensor] = {}
    for key, value in Qwen2VLModel(config).state_dict().items():
        name = "base_model.model." + key.replace("language_model.", "model.")
        adapted = "_proj." in name and ".layers." in name
        stem, _, kind = name.rpartition(".")
        found[f"{stem}.base_layer.{kind}" if adapted else name] = values(name, value.shape)
        if adapted and kind == "weight":
            for part, shape in (("A", (RANK, value.shape[1])), ("B", (value.shape[0], RANK))):
                found[f"{stem}.lora_{part}.default.weight"] = values(f"{stem}.{part}", shape) / 32
    found["base_model.model.lm_head.weight"] = found["base_model.model.model.embed_tokens.weight"].clone()
    found["base_model.model.rm_head.weight"] = values("rm_head", (1, WIDTH)) * 8
    return found


def fetched(folder: Path) -> Path:
    """Both, fetched as videoreward and qwen2-vl."""
    source, target = base(folder / "base"), folder / "models"
    file = folder / "model.pth"
    torch.save(state(source), file)
    fetch("qwen2-vl", LocalModel(kind="local", path=str(source), weights=False), target / "qwen2-vl", {})
    fetch("videoreward", UrlModel(kind="url", url=file.as_uri(), sha256=sha256(file)), target / "videoreward", {})
    return target
