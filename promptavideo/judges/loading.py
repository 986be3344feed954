"""Loading the parts of a reward from a model's folder: networks, tokenizers, and nothing that does not fit."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptavideo.errors import InputError
from promptavideo.tokenization import load_tokenizer

if TYPE_CHECKING:
    import torch


def plain(prompt: str, tokenizer: Any) -> str:
    """`prompt` without what its tokenizer reads as more than text: a user may write `<image>` or `</s>`."""
    special = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
    for token in sorted(special, key=lambda token: (-len(token), token)):
        prompt = prompt.replace(token, " ")
    return prompt


def check_type(folder: Path, known: tuple[str, ...]) -> None:
    """Check which architecture a model's configuration names, before anything of its size is made.

    Raises:
        InputError: Another one than the `known`, or none.
    """
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{folder}: has no model configuration that can be read ({error})") from error
    if found not in known:
        raise InputError(
            f"{folder}: holds a model of type {found}, not {known[0]}; check which model the configuration names"
        )


def load_reader(folder: Path) -> Any:
    """Load a tokenizer that reads prompts.

    Raises:
        InputError: The folder has none that reads a line of text; transformers makes an empty one of a folder without.
    """
    tokenizer = load_tokenizer(folder)
    ids = tokenizer("a red ball", add_special_tokens=False)["input_ids"]
    if not ids or tokenizer.unk_token_id in ids:
        raise InputError(f"{folder}: its tokenizer cannot read plain text; are its files among those fetched?")
    return tokenizer


def padded_ids(text: str, tokenizer: Any, length: int) -> "torch.Tensor":
    """The ids [length] of a text, cut or padded to one length."""
    read = tokenizer([text], padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    ids: torch.Tensor = read["input_ids"][0]
    return ids


def load_over_clip(folder: Path, base: Path, prefix: str, name: str) -> "tuple[Any, dict[str, torch.Tensor]]":
    """The configuration of a CLIP, and weights that were trained from it and are published without one.

    Args:
        folder: The fetched weights, as safetensors.
        base: The folder of the CLIP.
        prefix: What their names begin with, which is taken off.
        name: What messages call the model.

    Raises:
        InputError: One of the folders holds something else.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from transformers import CLIPConfig

    try:
        config = CLIPConfig.from_pretrained(base, local_files_only=True)
        files = [load_file(file) for file in sorted(folder.glob("*.safetensors"))]
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise InputError(f"{folder}: holds no weights of {name} for the CLIP in {base} ({error})") from error
    config.name_or_path = str(folder)
    return config, {key.removeprefix(prefix): value for part in files for key, value in part.items()}


def load_network(kind: Any, folder: Path | None, dtype: str, ignored: tuple[str, ...] = (), **options: Any) -> Any:
    """Load a transformers model from safetensors, refusing weights that do not fit.

    Args:
        kind: The class.
        folder: Where config and weights are; None if `options` give them.
        dtype: What the weights become.
        ignored: Beginnings of names of weights that the file may hold beyond what the class takes.
        options: More arguments of `from_pretrained`.

    Raises:
        InputError: The folder holds no such model, or weights are missing, of other shapes or of another model.
    """
    import torch
    from safetensors import SafetensorError

    where = folder or options["config"].name_or_path
    try:
        network, report = kind.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, SafetensorError) as error:
        raise InputError(f"{where}: cannot be loaded as {kind.__name__} ({error})") from error
    missing = sorted(report["missing_keys"])
    foreign = sorted(key for key in report["unexpected_keys"] if not key.startswith(ignored))
    if missing or foreign:
        raise InputError(
            f"{where}: its weights are not those of a {kind.__name__} ({len(missing)} are missing: "
            f"{', '.join(missing[:3]) or 'none'}; {len(foreign)} are not known: {', '.join(foreign[:3]) or 'none'}); "
            "check which model the configuration names"
        )
    return network.eval()
