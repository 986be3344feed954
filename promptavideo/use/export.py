"""Make a plain model folder of a booster: adapters merged, instruction in the chat template, no code of ours needed."""

import json
import logging
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from promptavideo.boosters.base import turn_ends
from promptavideo.boosters.load import load_chain
from promptavideo.devices import enough_memory
from promptavideo.errors import InputError
from promptavideo.files import in_bytes, write_text
from promptavideo.tokenization import check_tokenizers
from promptavideo.use import card, record
from promptavideo.use.boost import SMALLER
from promptavideo.use.chat_template import asking
from promptavideo.use.ollama import modelfile
from promptavideo.use.source import BARE, Source

log = logging.getLogger(__name__)

ONE_FILE = "10GB"
"""Weights below this are one file, which some programs want."""

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def export(source: Source, folder: Path, dtype: str = "auto") -> None:
    """Write a booster as a model that any program reads which reads chat models.

    The folder appears when it is whole. It holds the weights as safetensors, the tokenizer, a chat template that asks
    as the booster was trained to be asked, generation settings, a model card, a Modelfile for Ollama, and the record
    by which `promptavideo boost` draws the same texts as from the run.

    Args:
        source: The booster.
        folder: Where to; must not be there yet.
        dtype: Of the weights: `float32`, `bfloat16` or `float16`; `auto` is the base model's.

    Raises:
        InputError: The folder is there, the disk or memory does not suffice, or the base model's chat template cannot
            hold the instruction.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder}: is there already; name a folder that is not")
    dtype = _dtype_of(source.chain.base) if dtype == "auto" else dtype
    size = parameters(source.chain.base) * BYTES[dtype]
    log.info("%s: writes %s in %s to %s", source.name, in_bytes(size), dtype, folder)
    _check_room(folder, size)
    with enough_memory(SMALLER):
        model, tokenizer = load_chain(source.chain, dtype)
    loaded: Any = model
    ends = turn_ends(source.chain.base, tokenizer)
    chat: Any = tokenizer
    if source.instruction.template.template != BARE:
        chat.chat_template = asking(chat, source.instruction)
    drawn = loaded.generation_config
    sampling = source.settings.sampling
    drawn.update(
        do_sample=True,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        max_new_tokens=sampling.max_new_tokens,
        max_length=None,
        eos_token_id=ends,
        pad_token_id=chat.pad_token_id,
    )
    drawn._from_model_config = False  # else a reader may take the model's own settings in place of these
    with _appearing(folder) as partial:
        try:
            loaded.save_pretrained(partial, max_shard_size=ONE_FILE)
            chat.save_pretrained(partial)
        except OSError as error:
            raise InputError(f"{folder}: cannot be written ({error}); it takes {in_bytes(size)}") from error
        check_tokenizers(partial)
        _forget_paths(partial)
        kept = record.Record(
            name=source.name,
            writes=source.writes,
            instruction=source.instruction.template.template,
            sampling=sampling,
            seed=source.seed,
        )
        record.write(kept, source.readers, partial)
        write_text(partial / "Modelfile", modelfile(chat, ends, sampling))
        write_text(partial / "README.md", card.text(source, dtype, folder.name))


def parameters(model: Path) -> int:
    """How many numbers the weights of a model's folder hold, by the headers of its safetensors.

    Raises:
        InputError: It holds none that can be read.
    """
    total = 0
    files = sorted(model.glob("*.safetensors"))
    for file in files:
        try:
            with file.open("rb") as stream:
                header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
            for name, tensor in header.items():
                if name != "__metadata__":
                    count = 1
                    for length in tensor["shape"]:
                        count *= length
                    total += count
        except (OSError, ValueError, KeyError, MemoryError) as error:
            raise InputError(f"{file}: cannot be read as weights ({error}); fetch or copy the model again") from error
    if not files:
        raise InputError(f"{model}: holds no safetensors; fetch or copy the model again")
    return total


def _dtype_of(model: Path) -> str:
    try:
        said = json.loads((model / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{model / 'config.json'}: cannot be read ({error}); fetch the model again") from error
    found = str(said.get("dtype") or said.get("torch_dtype") or "float32").removeprefix("torch.")
    return found if found in BYTES else "float32"


def _check_room(folder: Path, size: int) -> None:
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir())
    free = shutil.disk_usage(there).free
    if free < size:
        raise InputError(f"{folder}: takes {in_bytes(size)}, and {there} has {in_bytes(free)} left; free space first")


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A sibling to write in, which becomes `folder` when all is written, and else is removed."""
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}); name another folder") from error
    try:
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                file.chmod(0o644)  # safetensors are written for their owner alone
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _forget_paths(folder: Path) -> None:
    """Take out of the settings where on this machine the base model lay."""
    for name in ("config.json", "tokenizer_config.json"):
        path = folder / name
        said = json.loads(path.read_text(encoding="utf-8"))
        kept = {key: value for key, value in said.items() if key not in ("_name_or_path", "name_or_path")}
        write_text(path, json.dumps(kept, indent=2, ensure_ascii=False) + "\n")
