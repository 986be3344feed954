"""Tokenizers read text as their published files say, whatever class transformers takes them for."""

import json
from pathlib import Path

import pytest
from tiny import tiny_gpt2
from tiny_judges import legacy_llama
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from promptavideo.boosters.load import load_chat_tokenizer
from promptavideo.errors import InputError
from promptavideo.judges.loading import load_reader
from promptavideo.models import LocalModel, fetch
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


def test_special_tokens_that_only_the_class_knows_are_kept(tmp_path: Path) -> None:
    """GPT-2 is published with its length alone beside tokenizer.json; Promptist pads and stops with its end token."""
    folder = tiny_gpt2(tmp_path)
    assert json.loads((folder / "tokenizer_config.json").read_text()) == {"model_max_length": 1024}
    tokenizer = load_tokenizer(folder)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.eos_token_id) == ("<|endoftext|>", "<|endoftext|>", 0)
    assert tokenizer.pad_token is None and tokenizer.model_max_length == 1024
    assert deviation(tokenizer, folder) is None


def test_what_stands_in_files_of_its_own_is_kept(tmp_path: Path) -> None:
    folder = legacy_llama(tmp_path, TEXTS)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    names = {name: config.pop(name) for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "special_tokens_map.json").write_text(json.dumps(names))
    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    tokenizer = load_tokenizer(folder)
    assert {name: getattr(tokenizer, name) for name in names} == names
    assert tokenizer.apply_chat_template([{"role": "user", "content": "a ball"}], tokenize=False) == "a ball"


def test_a_folder_without_tokenizer_json_is_read_by_its_class(tmp_path: Path) -> None:
    vocabulary = {"<|endoftext|>": 0, "a": 1, "b": 2, "Ġ": 3, "ab": 4}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer("ab a")["input_ids"] == [4, 3, 1] and tokenizer.eos_token_id == 0


def test_a_models_own_added_tokens_are_probed(tmp_path: Path) -> None:
    """The normalizer shows after an added token only, and those of a model are not among the fixed texts."""
    folder = legacy_llama(tmp_path, TEXTS)
    for file in (folder / "tokenizer.json", folder / "tokenizer_config.json"):
        file.write_text(file.read_text().replace("<image>", "<picture>"))
    tokenizer = load_tokenizer(folder)
    assert deviation(tokenizer, folder) is None
    assert deviation(lambda text, **_: {"input_ids": tokenizer(text.replace("<picture>", "x"))["input_ids"]}, folder)


def test_files_that_are_no_tokenizer_are_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="its tokenizer cannot be loaded"):
        load_tokenizer(tmp_path)
    with pytest.raises(InputError, match=r"tokenizer\.json: cannot be read as a tokenizer"):
        deviation(None, tmp_path)
