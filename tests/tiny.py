"""A Llama of some twenty thousand weights that stands in for a chat model in fast tests."""

import re
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2TokenizerFast,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from promptavideo.miniature import world

ROOT = Path(__file__).parents[1]
TEXTS = [
    (ROOT / "templates" / f"{name}.txt").read_text(encoding="utf-8").replace("$limit\n", "")
    for name in ("booster", "evolution", "refine", "refine_fewshot", "videoscore")
]
"""What tokenizers are trained on: named, since with another one every random model would write other texts."""
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{%- for turn in messages -%}<|im_start|>{{ turn['role'] + '\n' + turn['content'] }}<|im_end|>{{ '\n' }}"
    "{%- endfor -%}{%- if add_generation_prompt -%}<|im_start|>assistant{{ '\n' }}{%- endif -%}"
)


def tiny_llama(folder: Path, seed: int = 0) -> Path:
    """Save a random Llama with a byte-level ChatML tokenizer into `folder`, to be used as a `local` model.

    The tokenizer carries any text; what `generate` writes by default is made of whole words of the miniature's world.
    """
    banks = chain(
        world.COLOURS,
        *world.SHAPE_WORDS.values(),
        *world.MOTION_WORDS.values(),
        *world.BACKGROUND_WORDS.values(),
        *chain.from_iterable(world.QUALITY_WORDS.values()),
    )
    words = sorted({word for phrase in banks for word in re.findall(r"[a-z]+", phrase.lower())})
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4000,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([f" {word}" for word in words], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=PAD, unk_token=PAD, bos_token=START, eos_token=END, model_max_length=4096
    )
    tokenizer.chat_template = CHAT_TEMPLATE

    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=4096,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    spoken = {f"Ġ{word}" for word in words} | {END}  # Ġ is byte-level BPE's space
    model.generation_config = GenerationConfig(
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        suppress_tokens=sorted(index for token, index in tokenizer.get_vocab().items() if token not in spoken),
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


SPOKEN = ["vivid", "sharp", "light", "red", "blue", "ball", "rabbit", "boat", "rain", "roof", "night", "camera", "slow"]


def tiny_gpt2(folder: Path) -> Path:
    """Save a GPT-2 of random weights that wants to say whole words and to stop, as Promptist's base is published."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([*(f" {word}" for word in SPOKEN for _ in range(9)), *TEXTS], trainer)
    tokenizer = GPT2TokenizerFast(tokenizer_object=bpe, bos_token="<|endoftext|>", eos_token="<|endoftext|>")
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=1024,
        n_embd=32,
        n_layer=2,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.4,  # logits as far apart as a trained model's
        tie_word_embeddings=False,  # an untrained model with tied ones repeats its last token
    )
    model: Any = GPT2LMHeadModel(config)
    with torch.no_grad():
        spoken = [0, *(tokenizer.convert_tokens_to_ids(f"Ġ{word}") for word in SPOKEN)]  # Ġ is byte-level BPE's space
        model.lm_head.weight[[place for place in range(len(tokenizer)) if place not in spoken]] = 0
        model.lm_head.weight.mul_(2)
        model.lm_head.weight[0].mul_(0.8)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 1024}')  # its end token is known to code alone
    return folder


if __name__ == "__main__":
    tiny_llama(ROOT / "tests/tiny-llama")  # of tests/smoke.yaml
