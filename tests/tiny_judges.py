"""Random reward models of a few thousand weights, of the real classes and in the layout that each is published in."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer, Idefics2Config

from promptavideo.files import sha256
from promptavideo.judges.idefics2 import Idefics2ForSequenceClassification
from promptavideo.judges.mps_network import MpsNetwork
from promptavideo.models import LocalModel, UrlModel, fetch

ROOT = Path(__file__).parents[1]
TEXTS = (ROOT / "templates/videoscore.txt", ROOT / "resources/prompts/miniature-heldout.txt")
IMAGE = "<image>"
EXTRA = ["<unk>", "<s>", "</s>", "<fake_token_around_image>", IMAGE, "<end_of_utterance>"]


def _bytes() -> list[str]:
    return sorted(pre_tokenizers.ByteLevel.alphabet())


def letters() -> list[str]:
    """The least vocabulary of a CLIP: each byte, within a word and at its end."""
    return [*_bytes(), *(f"{byte}</w>" for byte in _bytes())]


def legacy_llama(folder: Path, texts: list[str], **settings: Any) -> Path:
    """A tokenizer as Llama's and Mistral's older ones are published: a normalizer prepends the space.

    transformers takes it for a LlamaTokenizer, which reads some texts otherwise.
    """
    bpe = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    letters = [*(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    trainer = trainers.BpeTrainer(vocab_size=1300, special_tokens=[*EXTRA, *letters], show_progress=False)
    bpe.train_from_iterator([*texts, *["  "] * 99], trainer)  # two spaces are one token, as in the real ones
    bpe.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    bpe.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    folder.mkdir(parents=True, exist_ok=True)
    bpe.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "pad_token": "<unk>", "add_bos_token": True, "add_eos_token": False, "legacy": True,
        "additional_special_tokens": EXTRA[3:], "clean_up_tokenization_spaces": False, **settings,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def videoscore(folder: Path, seed: int = 0) -> Path:
    """VideoScore: configuration, sharded safetensors with their index, tokenizer and image processor."""
    # Trained on what it will read, so that texts are about as many tokens as real tokenizers make of them.
    legacy_llama(folder, [file.read_text(encoding="utf-8") for file in TEXTS], padding_side="left")
    vocabulary = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    torch.manual_seed(seed)
    spread = {"initializer_range": 0.2}  # so that scores differ as much as real ones
    config = Idefics2Config(
        image_token_id=EXTRA.index(IMAGE),
        vision_config={
            "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 56, "patch_size": 14, **spread,
        },
        perceiver_config={
            "hidden_size": 32, "resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 2,
            "resampler_head_dim": 8, "num_key_value_heads": 1, **spread,
        },
        text_config={
            "model_type": "mistral", "vocab_size": vocabulary, "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
            "max_position_embeddings": 4096, "sliding_window": 4096, "pad_token_id": 0, **spread,
        },
    )  # fmt: skip
    network = Idefics2ForSequenceClassification(config)
    network.save_pretrained(folder, max_shard_size="60KB")
    processor = {
        "image_processor_type": "Idefics2ImageProcessor", "processor_class": "Idefics2Processor",
        "do_convert_rgb": True, "do_image_splitting": True, "do_normalize": True, "do_pad": True, "do_rescale": True,
        "do_resize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 2,
        "rescale_factor": 1 / 255, "size": {"longest_edge": 56, "shortest_edge": 28},
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def _clip(hidden_act: str, seed: int) -> CLIPModel:
    torch.manual_seed(seed)
    size = len(letters()) + 2
    shape = {"intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_act": hidden_act}
    return CLIPModel(
        CLIPConfig(
            text_config={
                **shape, "vocab_size": size, "hidden_size": 16, "max_position_embeddings": 77, "projection_dim": 8,
                "bos_token_id": size - 2, "eos_token_id": size - 1, "pad_token_id": size - 1,
            },
            vision_config={**shape, "hidden_size": 24, "image_size": 32, "patch_size": 8, "projection_dim": 8},
            projection_dim=8,
        )
    )  # fmt: skip


def clip(folder: Path, hidden_act: str = "quick_gelu", seed: int = 0) -> Path:
    """A whole CLIP with its tokenizer, as OpenAI's and LAION's are published."""
    vocabulary = {token: index for index, token in enumerate([*letters(), "<|startoftext|>", "<|endoftext|>"])}
    CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77).save_pretrained(folder)
    _clip(hidden_act, seed).save_pretrained(folder)
    return folder


def head(file: Path, width: int = 8, seed: int = 0) -> Path:
    """LAION's head: the pickled state dict of one linear layer."""
    torch.manual_seed(seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(torch.nn.Linear(width, 1).state_dict(), file)
    return file


def mps(folder: Path, seed: int = 0) -> Path:
    """MPS: one safetensors file whose keys start with `mps.`, and no configuration."""
    torch.manual_seed(seed)
    network = MpsNetwork(_clip("gelu", seed).config, layers=2, heads=2, width=4)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {f"mps.{key}": value.clone() for key, value in network.state_dict().items()}
    weights["mps.cross_model.layers.0.1.fn.rotary_emb.inv_freq"] = torch.ones(2)
    save_file(weights, folder / "model.safetensors")
    return folder


def hps(folder: Path, seed: int = 0) -> Path:
    """HPS: one safetensors file with open_clip's names behind `model.`, and no configuration."""
    weights = _clip("gelu", seed).state_dict()
    named: dict[str, torch.Tensor] = {}
    for key, value in weights.items():
        tower = "visual." if key.startswith("vision_model") else ""
        layer = re.fullmatch(r"\w+\.encoder\.layers\.(\d+)\.(.+)", key)
        if layer is None:
            turned = key in ("visual_projection.weight", "text_projection.weight")
            named[OPEN_CLIP[key]] = value.T.contiguous() if turned else value.clone()
            continue
        where, part = f"{tower}transformer.resblocks.{layer[1]}", layer[2]
        for ours, theirs in LAYER.items():
            part = part.replace(ours, theirs)
        if part.startswith("self_attn.q"):
            parts = [weights[key.replace("q_proj", f"{one}_proj")] for one in "qkv"]
            named[f"{where}.attn.in_proj_{part.rpartition('.')[2]}"] = torch.cat(parts)
        elif not part.startswith("self_attn"):
            named[f"{where}.{part}"] = value.clone()
    folder.mkdir(parents=True, exist_ok=True)
    save_file({f"model.{key}": value for key, value in named.items()}, folder / "model.safetensors")
    return folder


LAYER = {
    "layer_norm": "ln_", "self_attn.out_proj": "attn.out_proj", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"
}  # fmt: skip
OPEN_CLIP = {
    "logit_scale": "logit_scale",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
    "text_projection.weight": "text_projection",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
    "visual_projection.weight": "visual.proj",
}
"""The weights of a CLIP outside its layers, as transformers and as open_clip name them."""


def fetched(folder: Path) -> Path:
    """All of them, fetched into one folder as videoscore, clip-l, head, mps, hps and clip-h."""
    sources, target = folder / "sources", folder / "models"
    clip_h = clip(sources / "clip-h", "gelu")
    for name, source, weights in (
        ("videoscore", videoscore(sources / "videoscore"), True),
        ("clip-l", clip(sources / "clip-l"), True),
        ("mps", mps(sources / "mps"), True),
        ("hps", hps(sources / "hps"), True),
        ("clip-h", clip_h, False),
    ):
        fetch(name, LocalModel(kind="local", path=str(source), weights=weights), target / name, {})
    file = head(sources / "head.pth")
    fetch("head", UrlModel(kind="url", url=file.as_uri(), sha256=sha256(file)), target / "head", {})
    return target


def keys(folder: Path) -> set[str]:
    """Names of all weights in a folder's safetensors."""
    return {key for file in folder.glob("*.safetensors") for key in load_file(file)}
