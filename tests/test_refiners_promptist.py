import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from makers import ROOT, changed
from safetensors.torch import load_file, save_file
from tiny import tiny_gpt2
from transformers import GPT2LMHeadModel, GPT2TokenizerFast

from promptavideo.config import check
from promptavideo.errors import InputError
from promptavideo.hardware import processor
from promptavideo.models import LocalModel, fetch
from promptavideo.refiners.promptist import Promptist, PromptistConfig
from promptavideo.study import Study

PROMPTS = [
    "a red ball",
    " A rabbit is wearing a space suit\n",
    "x",
    "rain on a tin roof at night, seen from below",
    "two boats",
    "a $dollar {box}",
    "東京",
]


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder `source`: a tiny GPT-2 that wants to say whole words and to stop; its tokenizer was made on the fly."""
    return tiny_gpt2(tmp_path_factory.mktemp("gpt2") / "source")


Load = Callable[..., Promptist]


@pytest.fixture(scope="module")
def load(gpt2: Path) -> Load:
    def make(model: Path = gpt2, tokenizer: Path | None = None, **settings: Any) -> Promptist:
        chosen = {"max_prompt_tokens": 48, "max_new_tokens": 12, "batch_size": 4, "device": "cpu", **settings}
        return Promptist(PromptistConfig(kind="promptist", model="promptist", **chosen), "promptist", model, tokenizer)

    return make


def ids(prompts: list[str]) -> list[str]:
    return [f"p{place}" for place in range(len(prompts))]


def test_a_text_is_the_same_alone_and_among_others(load: Load) -> None:
    promptist = load()
    texts = promptist.refine(ids(PROMPTS), PROMPTS)
    assert len(set(texts)) == len(PROMPTS)
    assert promptist.refine(ids(PROMPTS), PROMPTS[::-1]) == texts[::-1]
    for prompt, text in zip(PROMPTS, texts, strict=True):
        assert promptist.refine(["other", "boats"], [prompt, "two boats"])[0] == text


def test_it_is_the_first_beam_of_the_authors_own_call(load: Load, gpt2: Path) -> None:
    """One prompt at a time without padding, as the authors call it, cut by the length of the prompt."""
    tokenizer: Any = GPT2TokenizerFast.from_pretrained(gpt2)
    model: Any = GPT2LMHeadModel.from_pretrained(gpt2)
    expected = []
    for prompt in PROMPTS:
        asked = tokenizer(prompt.strip() + " Rephrase:", return_tensors="pt").input_ids
        beams = model.generate(
            asked,
            do_sample=False,
            max_new_tokens=12,
            num_beams=8,
            num_return_sequences=8,
            eos_token_id=0,
            pad_token_id=0,
            length_penalty=-1.0,
        )
        expected.append(" ".join(tokenizer.decode(beams[0, asked.shape[1] :], skip_special_tokens=True).split()))
    assert load().refine(ids(PROMPTS), PROMPTS) == [
        text or prompt for text, prompt in zip(expected, PROMPTS, strict=True)
    ]
    assert sum(bool(text) for text in expected) > 3


def test_beams_and_length_penalty_matter(load: Load) -> None:
    texts = load().refine(ids(PROMPTS), PROMPTS)
    greedy = load(beams=1).refine(ids(PROMPTS), PROMPTS)
    assert greedy != texts
    longer = load(length_penalty=5.0).refine(ids(PROMPTS), PROMPTS)
    assert sum(map(len, longer)) > sum(map(len, texts))


def test_the_prompt_is_cut_off_by_tokens_and_not_searched_for(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that repeats its prompt keeps the repetition: only what it was given is taken away."""
    promptist = load()
    generate = promptist._model.generate

    def repeat(**arguments: Any) -> torch.Tensor:
        generate(**arguments)
        return torch.cat([arguments["input_ids"], arguments["input_ids"]], dim=1)

    monkeypatch.setattr(promptist._model, "generate", repeat)
    assert promptist.refine(["p"], ["a red ball"]) == ["a red ball Rephrase:"]


def test_answers_are_cleaned_and_empty_ones_fall_back(
    load: Load, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    promptist = load(max_words=3)
    monkeypatch.setattr(promptist, "_continue", lambda rows: [" a\x00b\nc d e", " \u200b"][: len(rows)])
    with caplog.at_level(logging.WARNING):
        assert promptist.refine(["p", "q"], ["one", "two"]) == ["a b c", "two"]
    assert "refiners.promptist: 1 of 2 answers are not usable (empty: 1); the prompt itself stands in" in caplog.text
    found = promptist.circumstances()
    assert found.items() >= {"fallbacks": 1, "cut": 1, "dropped": {"empty": 1}, "device": processor()}.items()
    assert found["engine"] == f"transformers {transformers.__version__}"


def test_weights_and_tokenizer_may_be_published_apart(load: Load, gpt2: Path, tmp_path: Path) -> None:
    """As with Promptist itself: a state dict, and gpt2's configuration and tokenizer."""
    (tmp_path / "weights").mkdir()
    save_file(load_file(gpt2 / "model.safetensors"), tmp_path / "weights/model.safetensors")
    shutil.copytree(gpt2, tmp_path / "gpt2", ignore=shutil.ignore_patterns("*.safetensors"))
    apart = load(tmp_path / "weights", tmp_path / "gpt2").refine(ids(PROMPTS), PROMPTS)
    assert apart == load().refine(ids(PROMPTS), PROMPTS)


def test_the_entry_loads_from_the_model_registry(
    gpt2: Path, tmp_path: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study(check(changed("seed", 1), ROOT), ROOT)
    monkeypatch.chdir(tmp_path)
    fetch("promptist", LocalModel(kind="local", path=str(gpt2)), Path(study.layout.model("promptist")), {})
    config = PromptistConfig(
        kind="promptist", model="promptist", device="cpu", max_prompt_tokens=48, max_new_tokens=12, batch_size=4
    )
    assert config.models == ["promptist"]
    refiner = config.load("promptist", "mini-t2v", study)
    assert refiner.refine(ids(PROMPTS), PROMPTS) == load().refine(ids(PROMPTS), PROMPTS)


def test_what_cannot_work_is_refused(load: Load, gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        InputError, match=r"'a 5{78}' takes \d+ tokens, more than refiners\.promptist\.max_prompt_tokens"
    ):
        load().refine(["p"], ["a " + "5" * 100])
    with pytest.raises(InputError, match=r"= 1032 is more than the model's 1024 positions"):
        load(max_prompt_tokens=1020)
    with pytest.raises(InputError, match=r"nowhere: its tokenizer cannot be loaded"):
        load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"refiners\.promptist\.device: cuda needs a GPU"):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        load(device="cuda")
    shutil.copytree(gpt2, tmp_path / "holes")
    weights = load_file(gpt2 / "model.safetensors")
    del weights["transformer.h.1.mlp.c_fc.weight"]
    save_file(weights, tmp_path / "holes/model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"holes lacks weights .*h\.1\.mlp\.c_fc\.weight"):
        load(tmp_path / "holes")
    (tmp_path / "holes/model.safetensors").write_bytes(b"half")
    with pytest.raises(InputError, match=r"holes .*cannot be loaded"):
        load(tmp_path / "holes")


def test_too_little_memory_names_the_setting(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    promptist = load()

    def full(**arguments: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    monkeypatch.setattr(promptist._model, "generate", full)
    with pytest.raises(InputError, match=r"Tried to allocate 2 GiB.*lower refiners\.promptist\.batch_size, which is 4"):
        promptist.refine(["p"], ["a red ball"])
