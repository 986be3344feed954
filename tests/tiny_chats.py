"""Tiny random chat models of the families that people take as a booster's base, saved as the large ones are."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GenerationConfig,
    GPTNeoXConfig,
    LlamaConfig,
    Phi3Config,
    PreTrainedTokenizerFast,
    Qwen3Config,
    set_seed,
)

ROOT = Path(__file__).parents[1]
SIZE: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "max_position_embeddings": 2048,
}  # fmt: skip
GROUPED: dict[str, Any] = SIZE | {"num_key_value_heads": 1, "head_dim": 8}


@dataclass(frozen=True)
class Family:
    """What makes a family's chat models what they are."""

    config: type[Any]
    template: str
    special: list[str]
    """Tokens of the vocabulary that are no text."""
    eos: str
    """That the tokenizer names."""
    ends: list[str]
    """That end a turn: the tokenizer's, the generation settings' and the template's."""
    generation: list[str] | None = None
    """That the generation settings end with; they are absent where this is None."""
    bos: str | None = None
    targets: list[str] = field(
        default_factory=lambda: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    )
    size: dict[str, Any] = field(default_factory=lambda: GROUPED)


FAMILIES = {
    "llama-3": Family(
        LlamaConfig,
        "{% for m in messages %}{{ (bos_token if loop.first else '') + '<|start_header_id|>' + m['role'] + "
        "'<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
        ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        eos="<|end_of_text|>",
        ends=["<|end_of_text|>", "<|eot_id|>"],
        generation=["<|end_of_text|>", "<|eot_id|>"],
        bos="<|begin_of_text|>",
    ),
    "qwen3": Family(
        Qwen3Config,
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' and loop.last %}"
        "{{ '<think>\n\n</think>\n\n' }}{% endif %}{{ m['content'] + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
        "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
        "{% endif %}",
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"],
        eos="<|im_end|>",
        ends=["<|endoftext|>", "<|im_end|>"],
        generation=["<|im_end|>", "<|endoftext|>"],
    ),
    "gemma-2": Family(
        Gemma2Config,
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{% for m in messages %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' + "
        "m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
        ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"],
        eos="<eos>",
        ends=["<eos>", "<end_of_turn>"],
        generation=["<eos>"],
        bos="<bos>",
    ),
    "phi-3": Family(
        Phi3Config,
        "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
        ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"],
        eos="<|endoftext|>",
        ends=["<|endoftext|>", "<|end|>"],
        generation=["<|endoftext|>"],
        targets=["qkv_proj", "o_proj", "gate_up_proj", "down_proj"],
        size=SIZE | {"num_key_value_heads": 2},
    ),
    "gpt-neox": Family(
        GPTNeoXConfig,
        "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}",
        ["<|endoftext|>", "<|user|>", "<|assistant|>"],
        eos="<|endoftext|>",
        ends=["<|endoftext|>"],
        targets=["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"],
        size=SIZE,
    ),
}


def tiny_chat(folder: Path, name: str, template: str | None = None) -> Path:
    """Save a random model of a family into `folder`, with `template` in place of the family's own if given."""
    family = FAMILIES[name]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=family.special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train([str(ROOT / "templates/booster.txt"), str(ROOT / "resources/prompts/miniature-train.txt")], trainer)
    bpe.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=family.bos, eos_token=family.eos)
    tokenizer.chat_template = template or family.template
    ids = dict(zip(family.special, tokenizer.convert_tokens_to_ids(family.special), strict=True))
    set_seed(0)
    given = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": ids[family.eos], "pad_token_id": 0}
    model = AutoModelForCausalLM.from_config(family.config(**family.size, **given))
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if family.generation:
        GenerationConfig(eos_token_id=[ids[end] for end in family.generation]).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
