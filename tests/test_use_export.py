"""An exported booster: a plain model folder, which asks as the booster was trained to be asked, for any program."""

import json
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pandas as pd
import pytest
import torch
from openai import OpenAI
from safetensors.torch import load_file
from tiny import CHAT_TEMPLATE
from transformers import AutoTokenizer, GenerationConfig
from use_boosters import INSTRUCTION, finished_run

from promptavideo.boosters.base import TEMPLATE_OPTIONS, encode
from promptavideo.boosters.chat import Instruction
from promptavideo.boosters.load import load_chain, load_chat_tokenizer
from promptavideo.boosters.sampling import Sampler
from promptavideo.errors import InputError
from promptavideo.tables import PAPER_COLUMNS
from promptavideo.use import record, source
from promptavideo.use.boost import Boost
from promptavideo.use.chat_template import PROBES, asking
from promptavideo.use.export import export, parameters
from promptavideo.use.main import main
from promptavideo.use.ollama import modelfile

PROMPTS = ["a red ball moves left", "a blue box falls", "costs $5 {x} 🎉"]

TEMPLATES = {
    "chatml": CHAT_TEMPLATE,
    "a system message of its own": (
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
        "{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
        "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "on lines, with an option": (
        "\n{%- macro told(message) %}\n    {{- message.content | trim }}\n{%- endmacro %}\n"
        "  {% for message in messages %}\n[{{ message.role }}] {{ told(message) }}\n  {% endfor %}\n"
        "{% if add_generation_prompt %}[assistant]{% if enable_thinking is defined and not enable_thinking %}"
        " <think></think>{% endif %}{% endif %}\n"
    ),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = finished_run(tmp_path_factory.mktemp("export") / "run", {"booster": {"dtype": "float32"}})
    row = dict.fromkeys(PAPER_COLUMNS.all, 2.5) | {"generator": "mini-t2v", "set": "heldout", "videos": 6}
    rows = [
        {**row, "refiner": "original", "gain": None, "gain_ci_low": None, "gain_ci_high": None, "p_value": None},
        {
            **row,
            "refiner": "dpo-2",
            "avg": 3.0,
            "gain": 0.5,
            "gain_ci_low": 0.25,
            "gain_ci_high": 0.75,
            "p_value": 0.01,
        },
    ]
    (folder / "results/tables").mkdir(parents=True)
    pd.DataFrame(rows).to_csv(folder / "results/tables/videoscore.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def booster(run: Path) -> source.Source:
    return source.find(str(run / "results/mini-t2v/boosters/dpo-2")).on("cpu")


@pytest.fixture(scope="module")
def exported(booster: source.Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "booster"
    export(booster, folder, "float32")
    return folder


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
@pytest.mark.parametrize("text", [INSTRUCTION, "$prompt", 'Say "$$5" of\n\t$prompt\\\nand 🙂 {{ $prompt }} {% raw %}.'])
def test_the_template_renders_what_the_instruction_and_the_base_render(llama: Path, template: str, text: str) -> None:
    tokenizer: Any = load_chat_tokenizer(llama)
    tokenizer.chat_template = template
    instruction = Instruction.of(text, "a test")
    made = asking(tokenizer, instruction)
    for prompt in PROBES:
        expected = encode(tokenizer, instruction.ask(prompt), answering=True)
        for content in (prompt, [{"type": "text", "text": prompt}, {"type": "image_url"}]):
            asked = [{"role": "user", "content": content}]
            found = tokenizer.apply_chat_template(
                asked, chat_template=made, add_generation_prompt=True, return_dict=False
            )
            assert found == expected
    turns = [*instruction.ask("one"), {"role": "assistant", "content": "two"}, *instruction.ask("three")]
    bare = [{"role": "user", "content": "one"}, turns[1], {"role": "user", "content": "three"}]
    assert tokenizer.apply_chat_template(bare, chat_template=made, tokenize=False) == tokenizer.apply_chat_template(
        turns, tokenize=False, **TEMPLATE_OPTIONS
    )


def test_a_template_that_cannot_be_wrapped_is_refused(llama: Path) -> None:
    tokenizer: Any = load_chat_tokenizer(llama)
    tokenizer.chat_template = "{% if asked is defined %}A name that is taken.{% endif %}" + CHAT_TEMPLATE
    with pytest.raises(InputError, match="the base model's chat template cannot hold the booster's instruction"):
        asking(tokenizer, Instruction.of("Go: $prompt", "a test"))


def test_the_folder_is_read_without_code_of_ours(exported: Path, booster: source.Source) -> None:
    names = {path.name for path in exported.iterdir()}
    assert names >= {
        "model.safetensors",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "README.md",
        "Modelfile",
    }
    assert not [name for name in names if name.endswith((".py", ".bin"))]
    program = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model, tokenizer = (kind.from_pretrained(sys.argv[1]) for kind in (AutoModelForCausalLM, AutoTokenizer))
turns = [{"role": "user", "content": sys.argv[2]}]
asked = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt")
answer = model.generate(**asked, do_sample=False)[0, asked["input_ids"].shape[1]:]
assert not [name for name in sys.modules if name.startswith("promptavideo")]
print(tokenizer.decode(answer, skip_special_tokens=True))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(exported), PROMPTS[0]], capture_output=True, text=True, cwd=exported.parent
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == greedy(booster, PROMPTS[0])


def greedy(booster: source.Source, prompt: str) -> str:
    """What a booster answers when the most probable token is always taken."""
    sampling = booster.settings.sampling.model_copy(update={"top_k": 1, "batch_size": 1})
    settings = source.Settings(sampling, "cpu", "float32", 1)
    return Sampler(booster.chain, booster.instruction, settings).answers([prompt], [1], "greedy")[0].strip()


def test_its_weights_are_those_of_the_merged_chain(exported: Path, booster: source.Source) -> None:
    model, _ = load_chain(booster.chain, "float32")
    saved = load_file(exported / "model.safetensors")
    own = model.state_dict()
    assert saved.keys() <= own.keys() and all(torch.equal(saved[name], own[name]) for name in saved)
    assert parameters(exported) == sum(tensor.numel() for tensor in saved.values())


def test_it_is_drawn_as_in_its_run(exported: Path, booster: source.Source) -> None:
    drawn, sampling = GenerationConfig.from_pretrained(exported), booster.settings.sampling
    assert drawn.do_sample and (drawn.temperature, drawn.top_k, drawn.top_p) == (1.0, 50, 1.0)
    said = json.loads((exported / "generation_config.json").read_text(encoding="utf-8"))
    assert not said.get("_from_model_config")
    assert drawn.max_new_tokens == sampling.max_new_tokens == 12 and drawn.suppress_tokens
    again = source.find(str(exported)).on("cpu", "float32")
    assert Boost(again).write(PROMPTS, 2) == Boost(booster).write(PROMPTS, 2), "the very texts of the run"
    found, (reader,) = record.read(exported)
    assert found.base is None and found.name == "mini-t2v/dpo-2" and reader.limit == 24


def test_its_card_says_what_it_is_and_what_was_measured(exported: Path) -> None:
    card = (exported / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert "| mini-t2v | heldout | 6 | 3.000 | +0.500 | +0.250 to +0.750 |" in card
    assert "| data | 2 triples in its last stage of training, SHA-256 `0000000000000000` |" in card
    assert "VQ, TC, DD, TVA, FC, AES, MPS by pixels, of videos of mini-t2v" in card
    assert "trained at laptop scale" in card and "| licence of the base model | not said by its files" in card
    here = str(exported.parents[1])
    for path in exported.rglob("*"):
        if path.is_file() and path.suffix != ".safetensors":
            assert here not in path.read_text(encoding="utf-8"), path.name


def test_a_base_models_licence_is_told(run: Path, tmp_path: Path) -> None:
    from promptavideo.use.card import licence_of

    assert licence_of(tmp_path, None) == ""
    (tmp_path / "LICENSE").write_text("\n  Some Community License\nterms\n")
    assert licence_of(tmp_path, None) == "Some Community License"
    (tmp_path / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# M\nlicense: none\n")
    assert licence_of(tmp_path, None) == "apache-2.0"


def test_the_modelfile_writes_out_what_the_template_renders(exported: Path, booster: source.Source) -> None:
    text = (exported / "Modelfile").read_text(encoding="utf-8")
    template = text.partition('TEMPLATE """')[2].partition('"""')[0]
    tokenizer: Any = load_chat_tokenizer(booster.chain.base)
    expected = tokenizer.apply_chat_template(
        booster.instruction.ask(PROMPTS[0]), tokenize=False, add_generation_prompt=True
    )
    assert template.replace("{{ .Prompt }}", PROMPTS[0]) == expected
    assert (
        text.startswith("FROM .\n") and 'PARAMETER stop "<|im_end|>"\n' in text and "PARAMETER num_predict 12\n" in text
    )
    tokenizer.chat_template = '{{ \'{{ x }} """\' }}' + CHAT_TEMPLATE
    assert 'TEMPLATE """{{ "{{" }} x }} {{ "\\"\\"\\"" }}<|im_start|>' in modelfile(
        tokenizer, [2], booster.settings.sampling
    )


def test_the_size_is_said_before_anything_is_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("promptavideo.use.export.load_chain", lambda *_: (_ for _ in ()).throw(InputError("stopped")))
    monkeypatch.chdir(run)
    assert main(["export", "results/mini-t2v/boosters/sft", str(tmp_path / "made")]) == 1
    said = capfd.readouterr().err
    assert "mini-t2v/sft: writes " in said and " kB in float32 to " in said and "stopped" in said
    assert list(tmp_path.iterdir()) == []


def test_a_broken_export_leaves_nothing(
    booster: source.Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("promptavideo.use.export.modelfile", full)
    with pytest.raises(OSError, match="No space left"):
        export(booster, tmp_path / "made")
    assert list(tmp_path.iterdir()) == []


def test_an_export_is_exported_again_and_keeps_what_it_is(exported: Path, tmp_path: Path) -> None:
    export(source.find(str(exported)), tmp_path / "again")
    one, other = (AutoTokenizer.from_pretrained(folder) for folder in (exported, tmp_path / "again"))
    assert one.chat_template == other.chat_template
    assert record.read(tmp_path / "again")[0].sampling == record.read(exported)[0].sampling


def test_a_booster_of_the_hub_is_fetched_once_and_drawn_like_the_export(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def snapshot(*, local_dir: Path, dry_run: bool = False, **options: Any) -> object:
        calls.append(options["revision"])
        files = [path for path in exported.rglob("*") if path.is_file()]
        names = [path.relative_to(exported).as_posix() for path in files]
        if dry_run:
            sizes = [path.stat().st_size for path in files]
            return [
                SimpleNamespace(filename=name, file_size=size, will_download=True)
                for name, size in zip(names, sizes, strict=True)
            ]
        for name in huggingface_hub.utils.filter_repo_objects(names, allow_patterns=options["allow_patterns"]):
            (local_dir / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(exported / name, local_dir / name)
        return str(local_dir)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    commit = "0123456789abcdef0123456789abcdef01234567"
    with caplog.at_level(logging.INFO):
        first = source.find(f"lab/booster@{commit}")
    assert calls == [commit] * 2 and re.search(r"downloads [\d.]+ (kB|MB) of lab/booster", caplog.text)
    again = source.find(f"lab/booster@{commit}")
    assert calls == [commit] * 2 and again.chain == first.chain
    assert Boost(again.on("cpu", "float32")).write(PROMPTS[:1]) == Boost(
        source.find(str(exported)).on("cpu", "float32")
    ).write(PROMPTS[:1])


def test_a_whole_model_of_others_is_asked_by_an_instruction(
    booster: source.Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as those that the authors of the method released, whose chat template does not ask."""
    model, tokenizer = load_chain(booster.chain, "float32")
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "model")
    (tmp_path / "asks.txt").write_text(INSTRUCTION)
    found = source.find(str(tmp_path / "model"), tmp_path / "asks.txt").on("cpu", "float32")
    assert found.instruction.ask("x") == booster.instruction.ask("x") and found.settings.sampling.max_new_tokens == 250
    assert greedy(found, PROMPTS[0]).startswith(greedy(booster, PROMPTS[0]))


@pytest.fixture(scope="module")
def server(exported: Path) -> Iterator[str]:
    """The real `transformers serve` on the export."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(exported), "--host", "127.0.0.1"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([*command, "--port", str(port)], env=environment, stderr=subprocess.PIPE) as running:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert running.poll() is None, running.stderr and running.stderr.read()[-2000:]
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
        running.terminate()


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_real_server_gives_a_real_client_our_greedy_answer(
    server: str, exported: Path, booster: source.Source, prompt: str
) -> None:
    with OpenAI(base_url=server, api_key="none", max_retries=0, timeout=60) as client:
        asked: list[Any] = [{"role": "user", "content": prompt}]
        answer = client.chat.completions.create(model=str(exported), messages=asked, temperature=0, max_tokens=12)
    assert (answer.choices[0].message.content or "").strip() == greedy(booster, prompt) != ""


def test_a_server_draws_by_the_exports_settings(server: str, exported: Path) -> None:
    with OpenAI(base_url=server, api_key="none", max_retries=0, timeout=60) as client:
        asked: list[Any] = [{"role": "user", "content": PROMPTS[0]}]
        said = [
            client.chat.completions.create(model=str(exported), messages=asked, seed=seed).choices[0].message.content
            for seed in range(4)
        ]
    assert len(set(said)) > 1, "temperature 1, as in the run"


def test_the_record_is_json_for_people(exported: Path) -> None:
    said = json.loads((exported / record.FILE).read_text(encoding="utf-8"))
    assert said["instruction"] == INSTRUCTION and said["seed"] == 1 and said["sampling"]["max_prompt_tokens"] == 200
