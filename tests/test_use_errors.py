"""What a user may get wrong: one clear message each; exit status 2 for a command that cannot be meant, else 1."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import huggingface_hub
import pytest
import torch
from huggingface_hub import errors as hub
from use_boosters import finished_run

from promptavideo.boosters.load import CARD
from promptavideo.use.main import main

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Fails = Callable[..., str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("errors") / "run")


@pytest.fixture
def fails(run: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Fails:
    """The one message of a command that fails in the run's folder with a status."""
    monkeypatch.chdir(run)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_TOKEN", raising=False)

    def said(status: int, *arguments: str) -> str:
        assert main([*arguments, "--quiet"]) == status
        found = capfd.readouterr()
        assert found.out == "" and "Traceback" not in found.err
        return found.err.strip().splitlines()[-1]

    return said


def copy_of(run: Path, folder: Path) -> Path:
    """The boosters of a run within another run's folder."""
    shutil.copytree(run, folder, symlinks=True)
    return folder / "results/mini-t2v/boosters/dpo-2"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([""], "the prompt is empty"),
        ([" \t "], "the prompt is empty"),
        (["word " * 10_000], "the prompt has 10000 words and 49999 characters, too many: 200 words at most"),
        (["a red\x00 ball"], "the prompt holds a control character U+0000 at character 6"),
        (["a red\nball"], "control character U+000A"),
        ([], "give one prompt in quotes, - for prompts from a pipe, or --file"),
        (["a", "--file", "b.txt"], "give one prompt in quotes"),
        (["a", "--best-of", "3"], "--best-of: films, so it needs --film GENERATOR"),
        (["a", "--film", "mini-t2v", "-n", "2"], "-n: with --film it is --best-of"),
        (["-", "--film", "mini-t2v"], "--film: films one prompt"),
        (["a", "--out", "x"], "--out: is where videos go"),
        (["a", "-n", "0"], "'0' is no whole number from 1 to 1000"),
        (["a", "--seed", "-1"], "'-1' is no whole number from 0"),
        (["a", "--booster", "lab/model"], "needs a pinned revision: lab/model@COMMIT"),
        (["a", "--booster", "lab/model@main"], "is a branch, which moves"),
    ],
)
def test_a_command_that_cannot_be_meant(fails: Fails, arguments: list[str], words: str) -> None:
    assert words in fails(2, "boost", *arguments)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "holds no prompt; write one a line"),
        (b"a ball\n\na box\n", "line 2: the prompt is empty"),
        (b"a ball\na \x07 box\n", "line 2: the prompt holds a control character U+0007"),
        (b"a ball\n" + b"word " * 10_000, "line 2: the prompt has 10000 words"),
        (b"caf\xe9", "line 1: not UTF-8"),
    ],
)
def test_a_line_of_a_file_is_named(fails: Fails, tmp_path: Path, text: bytes, words: str) -> None:
    (tmp_path / "prompts.txt").write_bytes(text)
    assert words in fails(1, "boost", "--file", str(tmp_path / "prompts.txt"))


def test_a_file_that_is_not_there(fails: Fails) -> None:
    assert "none.txt does not exist; check the path" in fails(1, "boost", "--file", "none.txt")


def test_a_prompt_too_long_for_the_booster(fails: Fails) -> None:
    assert "more than booster.sampling.max_prompt_tokens = 200" in fails(1, "boost", "an unheard-of word " * 40)


def test_a_booster_that_is_none(fails: Fails, tmp_path: Path) -> None:
    assert "is neither a folder nor OWNER/NAME@COMMIT" in fails(1, "boost", "a", "--booster", "no/such/folder")
    assert "is no booster: it holds neither booster.json nor config.json" in fails(
        1, "boost", "a", "--booster", str(tmp_path)
    )


def test_a_booster_of_another_base(run: Path, fails: Fails, tmp_path: Path) -> None:
    folder = copy_of(run, tmp_path / "other")
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(card | {"base": "f" * 64}))
    words = fails(1, "boost", "a", "--booster", str(folder))
    assert "was trained over tiny-llama with digest ffffffffffffffff" in words
    assert "use it with the base model that it was trained over" in words and (folder / CARD).exists()


@pytest.mark.parametrize(
    "lost", ["dpo-2/adapter/adapter_model.safetensors", "dpo-1/adapter/adapter_config.json", "sft/booster.json"]
)
def test_a_half_copied_booster(run: Path, fails: Fails, tmp_path: Path, lost: str) -> None:
    folder = copy_of(run, tmp_path / "half")
    (folder.parent / lost).unlink()
    words = fails(1, "boost", "a", "--booster", str(folder))
    assert lost in words.replace("/../", "/") and "copy" in words and "with the boosters that it goes on from" in words


def test_a_damaged_adapter_stays_the_users(run: Path, fails: Fails, tmp_path: Path) -> None:
    folder = copy_of(run, tmp_path / "cut")
    weights = folder / "adapter/adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    assert "is not the one that" in fails(1, "boost", "a", "--booster", str(folder))
    assert (folder / CARD).exists()


def test_a_booster_away_from_its_run(run: Path, fails: Fails, tmp_path: Path) -> None:
    shutil.copytree(run / "results/mini-t2v/boosters/sft", tmp_path / "sft")
    words = fails(1, "boost", "a", "--booster", str(tmp_path / "sft"))
    assert (
        "nothing around it says with which base model and sampling it is used" in words
        and "promptavideo export" in words
    )


@pytest.mark.parametrize("lost", ["model.safetensors", "tokenizer_config.json"])
def test_half_a_model(run: Path, fails: Fails, tmp_path: Path, lost: str) -> None:
    shutil.copytree(run / "resources/models/tiny-llama", tmp_path / "model")
    (tmp_path / "model" / lost).unlink()
    assert f"is half a model, {lost} is missing; copy it again" in fails(
        1, "boost", "a", "--booster", str(tmp_path / "model")
    )


def test_a_model_of_which_an_index_names_more(run: Path, fails: Fails, tmp_path: Path) -> None:
    shutil.copytree(run / "resources/models/tiny-llama", tmp_path / "model")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (tmp_path / "model/model.safetensors.index.json").write_text(json.dumps(index))
    assert "model-00001-of-00002.safetensors, model-00002-of-" in fails(
        1, "boost", "a", "--booster", str(tmp_path / "model")
    )


def test_a_gpu_that_is_not_there(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "cuda needs a GPU, but this machine shows none" in fails(1, "boost", "a", "--device", "cuda")


def test_memory_that_does_not_suffice(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    from promptavideo.boosters import sampling

    def too_large(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr(sampling, "load_chain", too_large)
    words = fails(1, "boost", "a")
    assert "memory does not suffice (CUDA out of memory" in words and "take a smaller booster" in words


def refused(kind: Callable[..., Exception], status: int) -> Exception:
    request = httpx2.Request("GET", "https://huggingface.co/api/models/lab/demo")
    return kind(f"{status} Client Error", response=httpx2.Response(status, request=request))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (refused(hub.GatedRepoError, 403), "lab/demo is gated and HF_TOKEN is not set; accept its terms at"),
        (refused(hub.RepositoryNotFoundError, 404), "the Hub has no model lab/demo, or it is private"),
        (refused(hub.RevisionNotFoundError, 404), f"lab/demo at revision {COMMIT} does not exist"),
        (hub.LocalEntryNotFoundError("no network"), "the Hub cannot be reached"),
    ],
)
def test_a_model_of_the_hub_that_cannot_be_had(
    fails: Fails, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def listing(**_: Any) -> Any:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", listing)
    said = fails(1, "boost", "a", "--booster", f"lab/demo@{COMMIT}")
    assert words in said and f"--booster lab/demo@{COMMIT}" in said and "models." not in said


def test_a_model_of_the_hub_without_safe_weights(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [
        SimpleNamespace(filename=name, file_size=9, will_download=True) for name in ("config.json", "pytorch_model.bin")
    ]
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda **_: files)
    assert "holds no weights (safetensors or gguf)" in fails(1, "boost", "a", "--booster", f"lab/demo@{COMMIT}")


def test_negative_prompts_without_a_booster_of_them(fails: Fails) -> None:
    assert "no booster of negative prompts goes with it; train one" in fails(1, "boost", "a", "--negative")


def test_a_folder_that_is_there_is_not_written_over(run: Path, fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/mine.txt").write_text("mine")
    booster = str(run / "results/mini-t2v/boosters/sft")
    assert "is there already; name a folder that is not" in fails(1, "export", booster, str(tmp_path / "there"))
    assert [one.name for one in (tmp_path / "there").iterdir()] == ["mine.txt"]


def test_a_disk_that_is_full(run: Path, fails: Fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    booster = str(run / "results/mini-t2v/boosters/sft")
    assert "kB, and" in fails(1, "export", booster, str(tmp_path / "made")) and not (tmp_path / "made").exists()


def test_a_generator_that_is_not_there_is_named_before_anything_is_loaded(
    fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("promptavideo.use.boost._load", lambda *_: pytest.fail("nothing is loaded"))
    assert "there is no generator 'nobody'" in fails(1, "boost", "a", "--film", "nobody")
