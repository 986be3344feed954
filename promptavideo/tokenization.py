"""Tokenizers that read text as their published files say.

transformers 5 builds tokenizers of known classes anew from vocabulary and merges, with a normalizer of its own. Where a
file's normalizer is another one (Llama's and Mistral's older files), ids differ from those that the model was trained
with.
"""

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


def load_tokenizer(folder: Path) -> Any:
    """Load a tokenizer, from its tokenizer.json as it is where there is one.

    Raises:
        InputError: The folder has none that can be loaded.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    loader: Any = PreTrainedTokenizerFast if (folder / FILE).is_file() else AutoTokenizer
    try:
        return loader.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # tokenizers raises bare exceptions
        raise InputError(f"{folder}: its tokenizer cannot be loaded ({error})") from error


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
    return next(
        (text for text in PROBES if tokenizer(text, verbose=False)["input_ids"] != published.encode(text).ids), None
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
