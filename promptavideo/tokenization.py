"""Tokenizers that read text as their published files say.

transformers 5 builds tokenizers of known classes anew from vocabulary and merges, with a normalizer of its own. Where a
file's normalizer is another one (Llama's and Mistral's older files), ids differ from those that the model was trained
with.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

from promptavideo.errors import InputError

FILE = "tokenizer.json"

PROBES = (
    "a red ball moves",
    "A RED Ball",
    " two  spaces, and\ta tab\n",
    "line\n\nline",
    "Müller's café — naïve, ﬁne… № ½",
    "東京の夜 Привет שלום",
    "🙂👍🏽",
    "4,096 frames at 23.976 fps",
    "<s> a <image> </s>",
    "",
)
"""Texts that tell tokenizers apart: white space, accents, forms that normalizers change, scripts, special tokens."""

PROBED = 300
"""Of a tokenizer's added tokens so many are tried one by one: some hold thousands of reserved ones."""


def load_tokenizer(folder: Path) -> Any:
    """Load a tokenizer, from its tokenizer.json as it is where there is one.

    Special tokens that no file names are those of the model's class: GPT-2's end of text is written in its code alone.

    Raises:
        InputError: The folder has none that can be loaded.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    published = (folder / FILE).is_file()
    loader: Any = PreTrainedTokenizerFast if published else AutoTokenizer
    try:
        tokenizer: Any = loader.from_pretrained(folder, **options)
    except Exception as error:  # tokenizers raises bare exceptions
        raise InputError(f"{folder}: its tokenizer cannot be loaded ({error})") from error
    if published:
        rebuilt: Any = None
        with suppress(Exception):  # a class that transformers does not know, or cannot build from the file, adds none
            rebuilt = AutoTokenizer.from_pretrained(folder, **options)
        for name in tokenizer.SPECIAL_TOKENS_ATTRIBUTES:
            token = getattr(rebuilt, name, None)
            if getattr(tokenizer, name) is None and token in tokenizer.get_vocab():
                setattr(tokenizer, name, token)
    return tokenizer


def deviation(tokenizer: Any, folder: Path) -> str | None:
    """The first text that a tokenizer reads otherwise than the tokenizer.json in `folder` says; None if there is none.

    Special tokens that the tokenizer adds around a text count.

    Raises:
        InputError: The file cannot be read.
    """
    from tokenizers import Tokenizer

    file = folder / FILE
    if not file.is_file():
        return None
    try:
        published = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises bare exceptions
        raise InputError(f"{file}: cannot be read as a tokenizer ({error})") from error
    published.no_padding()
    published.no_truncation()
    # Around a token of its own a tokenizer may begin a text anew, with a space or without.
    added = sorted(token.content for token in published.get_added_tokens_decoder().values())
    probes = (*PROBES, " ".join(added) + " ", *(f"a{token}b {token} c" for token in added[:PROBED]))
    return next(
        (text for text in probes if tokenizer(text, verbose=False)["input_ids"] != published.encode(text).ids), None
    )


def check_tokenizers(folder: Path) -> None:
    """Check that every tokenizer in a model's folder is loaded as its file says.

    Raises:
        InputError: One reads a text otherwise; says which.
    """
    for file in sorted(folder.rglob(FILE)):
        text = deviation(load_tokenizer(file.parent), file.parent)
        if text is not None:
            raise InputError(
                f"{file}: transformers reads {text!r} as other tokens than the file says, so scores and texts would be "
                "others than the model's authors'; check special tokens in the tokenizer_config.json beside it"
            )
