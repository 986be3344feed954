"""Chat models of several families as a booster's base: turns, templates, LoRA targets; trained and used alike."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from makers import booster_config, make_run, train_sft
from safetensors.torch import load_file
from tiny_chats import FAMILIES, tiny_chat

from promptavideo.boosters.base import check_base, check_prefix, check_targets, encode, turn_ends
from promptavideo.boosters.chat import Instruction
from promptavideo.boosters.config import BoosterConfig, LoraSettings, TrainSettings
from promptavideo.boosters.load import load_chat_tokenizer, read_chain
from promptavideo.boosters.sampling import Sampler
from promptavideo.errors import InputError
from promptavideo.models import LocalModel, fetch

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    for name in FAMILIES:
        fetch(name, LocalModel(kind="local", path=str(tiny_chat(folder / "sources" / name, name))), folder / name, {})
    return {name: folder / name for name in FAMILIES}


def settings(name: str, **more: Any) -> TrainSettings:
    lora = LoraSettings(r=2, targets=FAMILIES[name].targets)
    given = {"epochs": 2, "batch_size": 2, "micro_batch_size": 2, "learning_rate": 1e-2, "max_length": 256}
    return TrainSettings(**{**given, "lora": lora, **more})


def drawing(**sampling: int) -> BoosterConfig:
    return booster_config(sampling=sampling, threads=1, device="cpu", dtype="float32")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_turn_ends_with_all_that_settings_and_template_say(bases: dict[str, Path], name: str) -> None:
    tokenizer = load_chat_tokenizer(bases[name])
    ends = turn_ends(bases[name], tokenizer)
    assert set(tokenizer.convert_ids_to_tokens(ends)) == set(FAMILIES[name].ends)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_base_of_each_family_passes_and_its_answer_follows_what_is_asked(
    bases: dict[str, Path], name: str, instruction: Instruction
) -> None:
    config = BoosterConfig.model_validate(
        {"base": name, "instruction": str(ROOT / "templates/booster.txt"), "sft": settings(name).model_dump(),
         "dpo": settings(name).model_dump()}
    )  # fmt: skip
    assert set(check_base(bases[name], config)["turn_ends"].values()) == set(FAMILIES[name].ends)
    tokenizer = load_chat_tokenizer(bases[name])
    asked = encode(tokenizer, instruction.ask("a dog"), answering=True)
    whole = encode(tokenizer, [*instruction.ask("a dog"), *instruction.answer("a happy dog")])
    assert whole[: len(asked)] == asked
    assert tokenizer.decode(whole[len(asked) :], skip_special_tokens=True).strip() == "a happy dog"


@pytest.mark.parametrize("name", FAMILIES)
def test_an_adapter_of_each_family_is_trained_whole_and_draws(
    bases: dict[str, Path], name: str, instruction: Instruction, tmp_path: Path
) -> None:
    pairs = pd.DataFrame({"prompt": ["a dog", "a cat"], "refined": ["a happy dog", "a happy cat"]})
    run = make_run(tmp_path, "sft", seed=1, device="cpu", dtype="float32")
    train_sft(pairs, read_chain(bases[name], None), instruction, settings(name), run)
    adapted = {key.rsplit(".", 3)[-3] for key in load_file(tmp_path / "sft/adapter/adapter_model.safetensors")}
    assert adapted == set(FAMILIES[name].targets)
    config = drawing(max_new_tokens=4, max_prompt_tokens=64, batch_size=2)
    sampler = Sampler(read_chain(bases[name], tmp_path / "sft"), instruction, config)
    assert all(sampler.rewrite(["a dog"], [1], "draw"))


def test_drawing_stops_at_every_end_of_a_turn(
    bases: dict[str, Path], instruction: Instruction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Gemma that wants to end its turn after two words does; its tokenizer names another token as the end."""
    config = drawing(max_new_tokens=8, max_prompt_tokens=64, batch_size=1)
    sampler = Sampler(read_chain(bases["gemma-2"], None), instruction, config)
    tokenizer = sampler.tokenizer
    (word,) = tokenizer.encode("a", add_special_tokens=False)
    end = tokenizer.convert_tokens_to_ids("<end_of_turn>")
    said: list[int] = []

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        said.append(end if len(said) == 2 else word)
        scores = torch.full((*hidden.shape[:2], len(tokenizer)), -50.0)
        scores[..., said[-1]] = 50.0
        return scores

    monkeypatch.setattr(sampler._model.get_output_embeddings(), "forward", forward)
    assert sampler.rewrite(["a dog"], [1], "draw") == ["aa"]
    assert len(said) == 3


BROKEN = {
    "it always begins the next turn": (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
        "{{ '<|im_start|>assistant\n' }}",
        r"after an answer its chat template writes '<\|im_end\|>\\n<\|im_start\|>assistant'",
    ),
    "it ends no turn": (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}",
        r"its chat template ends an answer with '\\n' rather than a token of its own",
    ),
    "it thinks when it is asked": (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}",
        r"its chat template asks with '<think>\\n' where a text to train on has 'A red ball",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_template_that_would_train_on_something_else_is_refused(
    tmp_path: Path, how: str, instruction: Instruction
) -> None:
    template, told = BROKEN[how]
    base = tiny_chat(tmp_path / "base", "qwen3", template)
    tokenizer = load_chat_tokenizer(base)
    with pytest.raises(InputError, match=told):
        turn_ends(base, tokenizer)
        check_prefix(base, tokenizer, instruction)


@pytest.mark.parametrize("name", ["phi-3", "gpt-neox"])
def test_targets_of_another_family_are_an_error_that_lists_the_layers(bases: dict[str, Path], name: str) -> None:
    with pytest.raises(InputError) as caught:
        check_targets(bases[name], LoraSettings(), "booster.sft.lora")
    assert "booster.sft.lora.targets: q_proj, k_proj, v_proj, " in str(caught.value)
    assert f"its linear layers are {', '.join(sorted(FAMILIES[name].targets))}: name" in str(caught.value)


def test_no_weights_are_needed_to_check_targets(bases: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((bases["phi-3"] / "config.json").read_text())
    check_targets(tmp_path, LoraSettings(targets=["qkv_proj"]), "booster.sft.lora")
    config = json.loads((tmp_path / "config.json").read_text()) | {"model_type": "unheard-of"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="cannot be loaded as a causal language model"):
        check_targets(tmp_path, LoraSettings(), "booster.sft.lora")
