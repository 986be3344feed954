"""What makes a chat model fit to be a booster's base: how it is spoken to, where its turn ends, what LoRA adapts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from promptavideo.boosters.chat import Instruction, Message
from promptavideo.boosters.config import BoosterConfig, LoraSettings
from promptavideo.boosters.load import load_chat_tokenizer
from promptavideo.errors import InputError

TEMPLATE_OPTIONS = {"enable_thinking": False}
"""What every chat template is given, in training and in use alike; one that knows no such option ignores it."""

_ANSWER = "A red ball rolls to the left."


def encode(tokenizer: Any, conversation: Sequence[Message], answering: bool = False) -> list[int]:
    """The tokens of a conversation, up to where the assistant's turn begins if it is `answering`."""
    ids: list[int] = tokenizer.apply_chat_template(
        list(conversation),
        tokenize=True,
        add_generation_prompt=answering,
        return_dict=False,
        **TEMPLATE_OPTIONS,
    )
    return ids


def turn_ends(base: Path, tokenizer: Any) -> list[int]:
    """The tokens that end a turn: those of the model's generation settings and of its template.

    Raises:
        InputError: The template writes no token of its own after an answer, or more than the end of the turn.
    """
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": _ANSWER}],
        tokenize=False,
        **TEMPLATE_OPTIONS,
    )
    _, found, tail = text.rpartition(_ANSWER)
    known = {tokenizer.eos_token_id, *_generation_ends(base)} - {None}
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    ids = tokenizer(tail.strip(), add_special_tokens=False)["input_ids"] if found else []
    if not ids or ids[0] not in special:
        raise InputError(
            f"{base}: its chat template ends an answer with {tail[:40]!r} rather than a token of its own, so a booster "
            "would not learn to stop; take another booster.base"
        )
    ends = known | {ids[0]}
    rest = [token for token in ids if token not in ends and tokenizer.decode([token]).strip()]
    if rest:
        raise InputError(
            f"{base}: after an answer its chat template writes {tail.strip()[:60]!r}, on which a booster would be "
            "trained too (does it always write the beginning of the next turn?); take another booster.base, or mend "
            "the template in a copy of the model"
        )
    return sorted(ends)


def check_prefix(base: Path, tokenizer: Any, instruction: Instruction) -> None:
    """Check that a training text begins with what the booster will be asked with.

    Raises:
        InputError: The template writes another text before an answer than when it asks for one.
    """
    question = instruction.ask("a red ball")
    asked = encode(tokenizer, question, answering=True)
    whole = encode(tokenizer, [*question, *instruction.answer(_ANSWER)])
    if whole[: len(asked)] != asked:
        same = next(
            (place for place, pair in enumerate(zip(whole, asked, strict=False)) if len({*pair}) > 1), len(whole)
        )
        raise InputError(
            f"{base}: its chat template asks with {tokenizer.decode(asked[same:])[:60]!r} where a text to train on has "
            f"{tokenizer.decode(whole[same:])[:60]!r}, so a booster would be used otherwise than trained; take another "
            "booster.base"
        )


def check_targets(base: Path, settings: LoraSettings, key: str) -> None:
    """Check that every LoRA target is a layer of the model, without loading its weights.

    Args:
        base: The model's folder.
        settings: The adapter's.
        key: Of the configuration, e.g. `booster.sft.lora`, for messages.

    Raises:
        InputError: A target matches nothing; lists the linear layers that there are.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{base}: cannot be loaded as a causal language model ({error})") from error
    head = model.get_output_embeddings()
    linear = {name for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear) and layer is not head}
    names = sorted({name.rpartition(".")[2] for name in linear})
    absent = [
        target
        for target in settings.targets
        if not any(name == target or name.endswith(f".{target}") for name in linear)
    ]
    if absent:
        raise InputError(
            f"{key}.targets: {', '.join(absent)} {'is' if len(absent) == 1 else 'are'} no layer of {base}; its linear "
            f"layers are {', '.join(names)}: name those to adapt"
        )


def check_base(base: Path, settings: BoosterConfig) -> dict[str, Any]:
    """Check a base model before anything is filmed for its training.

    Args:
        base: The fetched model's folder.
        settings: The booster's.

    Returns:
        What a record of the check holds: the tokens that end a turn.

    Raises:
        InputError: The model cannot be a booster's base with these settings; says why.
    """
    tokenizer = load_chat_tokenizer(base)
    ends = turn_ends(base, tokenizer)
    check_prefix(base, tokenizer, Instruction(Path(settings.instruction)))
    for stage in ("sft", "dpo"):
        check_targets(base, getattr(settings, stage).lora, f"booster.{stage}.lora")
    return {"turn_ends": {str(token): tokenizer.convert_ids_to_tokens(token) for token in ends}}


def _generation_ends(base: Path) -> list[int]:
    from transformers import GenerationConfig

    try:
        ends = GenerationConfig.from_pretrained(base, local_files_only=True).eos_token_id
    except OSError:  # many models have none
        return []
    return ends if isinstance(ends, list) else [] if ends is None else [ends]
