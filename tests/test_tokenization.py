"""Tokenizers read text as their published files say, whatever class transformers takes them for."""

from pathlib import Path

import pytest
from tiny_rewards import legacy_llama
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from promptavideo.boosters.load import load_chat_tokenizer
from promptavideo.errors import InputError
from promptavideo.models import LocalModel, fetch
from promptavideo.rewards.loading import load_reader
from promptavideo.tokenization import PROBES, check_tokenizers, deviation, load_tokenizer

TEXTS = ["a red ball moves left"]
QUERY = "what? <image> <image> "


def test_a_rebuilt_tokenizer_reads_other_tokens_and_ours_does_not(tmp_path: Path) -> None:
    """The fault that this is about: after an image the text goes on with a space of its own."""
    folder = legacy_llama(
        tmp_path / "model", ["a red ball moves left"], model_max_length=77, chat_template="{{ messages[0] }}"
    )
    published = Tokenizer.from_file(str(folder / "tokenizer.json"))
    rebuilt = AutoTokenizer.from_pretrained(folder)
    assert rebuilt(QUERY)["input_ids"] != published.encode(QUERY).ids
    assert deviation(rebuilt, folder) is not None
    for load in (load_tokenizer, load_reader, load_chat_tokenizer):
        tokenizer = load(folder)
        for text in (*PROBES, QUERY):
            assert tokenizer(text)["input_ids"] == published.encode(text).ids
            bare = tokenizer(text, add_special_tokens=False)["input_ids"]
            assert bare == published.encode(text, add_special_tokens=False).ids
        assert tokenizer.model_max_length == 77 and tokenizer.chat_template and tokenizer.eos_token == "</s>"


def test_what_is_fetched_is_checked_against_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = legacy_llama(
        tmp_path / "model", ["a red ball moves left"], model_max_length=77, chat_template="{{ messages[0] }}"
    )
    check_tokenizers(tmp_path)
    monkeypatch.setattr("promptavideo.tokenization.load_tokenizer", AutoTokenizer.from_pretrained)
    entry = LocalModel(kind="local", path=str(folder), weights=False)
    with pytest.raises(InputError, match=r"tokenizer\.json: transformers reads .* as other tokens than the file says"):
        fetch("judge", entry, tmp_path / "models" / "judge", {})
    assert not (tmp_path / "models" / "judge").exists()


def test_files_that_are_no_tokenizer_are_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="its tokenizer cannot be loaded"):
        load_tokenizer(tmp_path)
    with pytest.raises(InputError, match=r"tokenizer\.json: cannot be read as a tokenizer"):
        deviation(None, tmp_path)
