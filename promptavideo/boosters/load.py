"""Boosters on disk: a chain of LoRA adapters over one base model."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptavideo.errors import InputError
from promptavideo.files import discarded, unreadable
from promptavideo.tokenization import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CARD = "booster.json"


@dataclass(frozen=True)
class Chain:
    """A base model's folder and the adapters to merge into it, first trained first."""

    base: Path
    adapters: tuple[Path, ...]


def read_chain(base: Path, booster: Path | None) -> Chain:
    """The chain that ends in a booster's folder; the bare base model when `booster` is None.

    Raises:
        InputError: A card in the chain is missing, unreadable (and is removed), or points at itself.
    """
    adapters: list[Path] = []
    while booster is not None:
        try:
            card = json.loads((booster / CARD).read_text(encoding="utf-8"))
            previous = card["previous"]
            folder = (booster / previous).resolve() if previous else None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise unreadable(booster / CARD, "card of a booster", error) from error
        if booster / "adapter" in adapters:
            raise InputError(f"{booster}: its chain of previous boosters returns to itself")
        adapters.insert(0, booster / "adapter")
        booster = folder
    return Chain(base, tuple(adapters))


def load_chat_tokenizer(base: Path) -> "PreTrainedTokenizerBase":
    """A base model's tokenizer, with something to pad with.

    Raises:
        InputError: It cannot be loaded, or has no chat template.
    """
    tokenizer: Any = load_tokenizer(base)
    if not tokenizer.chat_template:
        raise InputError(f"{base}: its tokenizer has no chat template; a booster's base must be a chat model")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_chain(chain: Chain, dtype: str) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    """Load the base model and merge every adapter, in float32; then cast the weights to `dtype`.

    Buffers, such as the frequencies of rotary positions, stay in float32, as transformers has them when it loads a
    model in `dtype`.

    Args:
        chain: The base model and its adapters.
        dtype: Name of a torch dtype.

    Raises:
        InputError: The base model or an adapter cannot be loaded (an adapter's card is removed), or the tokenizer has
            no chat template.
    """
    import torch
    from peft import PeftModel
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    tokenizer: Any = load_chat_tokenizer(chain.base)
    # Merging needs float32 and its memory; with nothing to merge, casting on the way in gives the same weights.
    loaded = torch.float32 if chain.adapters else getattr(torch, dtype)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(chain.base, dtype=loaded)
    except (OSError, ValueError) as error:
        raise InputError(f"{chain.base}: cannot be loaded as a causal language model ({error})") from error
    for adapter in chain.adapters:
        try:
            model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            card = adapter.parent / CARD
            raise discarded(
                f"{adapter}: cannot be loaded as an adapter of {chain.base} ({error}), though {card} says that it was "
                "trained",
                card,
            ) from error
    for weight in model.parameters():
        weight.data = weight.data.to(getattr(torch, dtype))
    model.config.dtype = getattr(torch, dtype)
    return model, tokenizer
