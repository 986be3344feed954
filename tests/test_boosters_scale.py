"""Boosters beyond one small device: several processes, number types, memory, model cards, and vLLM."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pandas as pd
import psutil
import pytest
import torch
from makers import DPO, PAIRS, SFT, TRIPLES, booster_config, changed, make_run, train_dpo, train_sft
from peft import PeftModel
from pydantic import ValidationError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, modeling_utils

from promptavideo import devices, runfile
from promptavideo.boosters import launch, vllm
from promptavideo.boosters.chat import Instruction
from promptavideo.boosters.config import DpoSettings, TrainSettings, accumulation
from promptavideo.boosters.load import CARD, Chain, load_chain, read_chain
from promptavideo.boosters.sampling import GumbelNoise, Sampler
from promptavideo.boosters.vllm import VllmSampler
from promptavideo.dtypes import processor_has_bfloat16
from promptavideo.errors import InputError
from promptavideo.hardware import processor
from promptavideo.layout import Layout
from promptavideo.refiners.booster import BoosterRefiner
from promptavideo.schemas import PAIRS as PAIRS_SCHEMA
from promptavideo.schemas import TRIPLES as TRIPLES_SCHEMA
from promptavideo.schemas import write_table

ROOT = Path(__file__).parents[1]
STEADY = SFT.model_copy(update={"lora": SFT.lora.model_copy(update={"dropout": 0.0})})

CHECKPOINTS = Layout().checkpoints("mini-t2v")


def log_of(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "log.csv")


class TestBatches:
    @pytest.mark.parametrize(
        ("batch_size", "micro_batch_size", "devices", "passes"),
        [(16, 16, 1, 1), (16, 4, 1, 4), (16, 4, 4, 1), (16, 2, 4, 2), (32, 1, 8, 4), (32, 4, 8, 1)],
    )
    def test_a_step_sees_the_batch_whatever_the_devices(
        self, batch_size: int, micro_batch_size: int, devices: int, passes: int
    ) -> None:
        settings = SFT.model_copy(update={"batch_size": batch_size, "micro_batch_size": micro_batch_size})
        assert accumulation(settings, devices) == passes
        assert passes * micro_batch_size * devices == batch_size

    @pytest.mark.parametrize(("micro_batch_size", "devices"), [(4, 3), (2, 4), (8, 1), (1, 8)])
    def test_a_batch_that_cannot_be_split_is_refused(self, micro_batch_size: int, devices: int) -> None:
        settings = SFT.model_copy(update={"micro_batch_size": micro_batch_size})
        words = f"batch_size 4 is no multiple of micro_batch_size {micro_batch_size} x {devices} devices; change one"
        with pytest.raises(InputError, match=words):
            accumulation(settings, devices)
        with pytest.raises(ValidationError, match=rf"dpo\.{words}"):
            booster_config(
                devices=devices,
                dpo=DPO.model_dump() | {"micro_batch_size": micro_batch_size},
                sft=SFT.model_dump() | {"micro_batch_size": 1, "batch_size": devices},
            )


def kill_once(command: list[str], started: dict[str, Any], checkpoints: Path) -> None:
    """Start a training, and kill its process group as soon as a checkpoint is whole; none of its processes stays."""
    run = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **started
    )
    deadline = time.monotonic() + 300
    while not list(checkpoints.glob("*/checkpoint-*/trainer_state.json")):
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    children = psutil.Process(run.pid).children(recursive=True)
    assert len(children) == 2
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive


@pytest.fixture(scope="module")
def together(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Boosters `sft`, whose training was killed on the way, and `dpo-1` that two processes trained."""
    folder, layout = tmp_path_factory.mktemp("processes"), Layout()
    write_table(PAIRS, folder / layout.pairs("mini-t2v"), PAIRS_SCHEMA)
    write_table(TRIPLES, folder / layout.batch("mini-t2v", "dpo-1").triples, TRIPLES_SCHEMA)
    (folder / layout.models).mkdir(parents=True)
    (folder / layout.model("tiny")).symlink_to(llama)
    (folder / "instruction.txt").write_text("Rewrite: $prompt")
    settings = booster_config(
        base="tiny",
        instruction="instruction.txt",
        device="cpu",
        devices=2,
        threads=1,
        sft=STEADY.model_dump() | {"micro_batch_size": 1},
        dpo=DPO.model_dump() | {"micro_batch_size": 1, "lora": STEADY.lora.model_dump()},
    )
    raw = changed("booster", settings.model_dump(mode="json")) | {"seed": 5}
    raw["models"]["tiny"] = {"kind": "local", "path": "tiny"}
    resolved = runfile.write(raw, folder)
    boosters = (folder / layout.booster("mini-t2v", "sft").folder).parent
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", runfile.VARIABLE: str(resolved)}
    started: dict[str, Any] = {"env": environment, "cwd": folder}
    for name in ("sft", "dpo-1"):
        command = [sys.executable, str(ROOT / "scripts/train_booster.py"), "mini-t2v", name]
        command += ["--log", str(boosters / f"{name}.log")]
        if name == "sft":
            boosters.mkdir()
            kill_once(command, started, folder / CHECKPOINTS)
        run = subprocess.run(command, capture_output=True, text=True, timeout=600, **started)
        assert run.returncode == 0, run.stderr[-5000:]
    return boosters


class TestProcesses:
    """Training in two processes on the CPU, through the script that starts them."""

    def test_steps_and_losses_are_those_of_one_process(
        self, together: Path, llama: Path, instruction: Instruction, tmp_path: Path
    ) -> None:
        train_sft(PAIRS, Chain(llama, ()), instruction, STEADY, make_run(tmp_path, "sft"))
        dpo = DPO.model_copy(update={"lora": STEADY.lora})
        train_dpo(TRIPLES, read_chain(llama, together / "sft"), instruction, dpo, make_run(tmp_path, "dpo-1", "../sft"))
        for name, columns in (("sft", ["loss"]), ("dpo-1", ["loss", "rewards/margins"])):
            ours, theirs = log_of(together / name), log_of(tmp_path / name)
            assert list(ours["step"]) == list(theirs["step"]) == [1, 2, 3, 4]
            # The same examples in each step; sums are taken in another order, in bfloat16.
            for column in columns:
                assert ours[column].to_numpy() == pytest.approx(theirs[column].to_numpy(), abs=0.02), (name, column)
            assert ours["loss"].iloc[-1] < ours["loss"].iloc[0] - 0.01

    def test_the_reference_is_shared_and_the_first_process_writes(self, together: Path) -> None:
        log = log_of(together / "dpo-1")
        assert log["rewards/margins"].iloc[0] == pytest.approx(0, abs=1e-6)
        card = json.loads((together / "dpo-1" / CARD).read_text())
        assert (card["devices"], card["steps"], card["previous"]) == (2, 4, "../sft")
        assert list((together.parents[2] / CHECKPOINTS).iterdir()) == []
        assert f"resuming from {CHECKPOINTS}" in (together / "sft.log").read_text()
        assert "train dpo-1: 4/4 steps" in (together / "dpo-1.log").read_text()
        assert (together / "dpo-1.rank-1.log").read_text().count("steps") == 0

    def test_the_launcher_is_the_right_command(self, monkeypatch: pytest.MonkeyPatch) -> None:
        started: list[list[str]] = []
        monkeypatch.setenv(launch.LAUNCHER, "")  # so that it is put back afterwards
        monkeypatch.setattr(os, "execv", lambda path, arguments: started.append([path, *arguments]))
        launch.relaunch(4, ["scripts/train_booster.py", "mini-t2v", "sft", "--log", "a b.log"])
        path, *arguments = started[0]
        assert path == arguments[0] == sys.executable
        assert arguments[1:5] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4"]
        assert arguments[5] == "--"
        assert arguments[6:] == ["scripts/train_booster.py", "mini-t2v", "sft", "--log", "a b.log"]

    @pytest.mark.parametrize(("ending", "status"), [("", 0), ("sys.exit(1)", 1), ("sys.exit('no data')", 1)])
    def test_one_of_several_leaves_without_tearing_down(self, ending: str, status: int) -> None:
        code = (
            "import sys, time\nfrom promptavideo.boosters import launch\n"
            "class Group:\n    def __del__(self):\n        time.sleep(600)\n"
            f"with launch.leave_at_once():\n    launch.hold(Group())\n    print('done')\n    {ending}\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "WORLD_SIZE": "2"}
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
        assert (run.returncode, run.stdout) == (status, "done\n"), run.stderr

    @pytest.mark.parametrize(
        ("visible", "kept"), [(None, "0"), ("2,3", "2"), ("", ""), ("GPU-8932f937,GPU-1", "GPU-8932f937")]
    )
    def test_one_process_sees_one_gpu(self, monkeypatch: pytest.MonkeyPatch, visible: str | None, kept: str) -> None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        launch.keep_one_gpu()
        assert os.environ["CUDA_VISIBLE_DEVICES"] == kept

    def test_another_number_of_processes_is_refused(
        self, llama: Path, instruction: Instruction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WORLD_SIZE", "4")
        with pytest.raises(InputError, match=r"booster\.devices is 1, but 4 processes were started"):
            train_sft(PAIRS, Chain(llama, ()), instruction, SFT, make_run(tmp_path, "sft"))


class TestDevices:
    def test_a_required_gpu_that_is_not_there_is_missed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(InputError, match=r"booster\.device: cuda needs a GPU, but this machine shows none"):
            devices.choose_device("cuda", "booster.device")
        assert devices.choose_device("auto", "booster.device", 4) == "cpu"
        assert devices.choose_device("cpu", "booster.device") == "cpu"

    def test_gpus_are_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        assert devices.choose_device("auto", "booster.device", 2) == "cuda"
        assert devices.choose_device("cuda", "booster.device") == "cuda"
        assert devices.choose_device("cpu", "booster.device", 4) == "cpu"
        with pytest.raises(InputError, match=r"booster\.devices: 4 GPUs are needed, but this machine shows 2"):
            devices.choose_device("auto", "booster.device", 4)

    def test_training_and_sampling_ask_for_it(
        self, llama: Path, instruction: Instruction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        run = make_run(tmp_path, "sft", device="cuda")
        with pytest.raises(InputError, match=r"booster\.device: cuda needs a GPU"):
            train_sft(PAIRS, Chain(llama, ()), instruction, SFT, run)
        with pytest.raises(InputError, match=r"booster\.device: cuda needs a GPU"):
            Sampler(Chain(llama, ()), instruction, booster_config(device="cuda"))


def full(*arguments: Any, **named: Any) -> Any:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nSee documentation")


class TestMemory:
    @pytest.mark.parametrize("stage", ["sft", "dpo"])
    def test_training_names_the_micro_batch(
        self, llama: Path, instruction: Instruction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
    ) -> None:
        monkeypatch.setattr("transformers.models.llama.modeling_llama.LlamaMLP.forward", full)
        train: Any = {"sft": train_sft, "dpo": train_dpo}[stage]
        table, settings = {"sft": (PAIRS, SFT), "dpo": (TRIPLES, DPO)}[stage]
        words = rf"allocate 20\.00 GiB\.\); lower booster\.{stage}\.micro_batch_size, which is 2 \(batch_size stays"
        with pytest.raises(InputError, match=words):
            train(table, Chain(llama, ()), instruction, settings, make_run(tmp_path, stage))

    def test_sampling_names_the_batch(
        self, llama: Path, instruction: Instruction, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sampler = Sampler(Chain(llama, ()), instruction, booster_config(sampling={"batch_size": 8}, device="cpu"))
        monkeypatch.setattr(sampler._model, "generate", full)
        with pytest.raises(InputError, match=r"lower booster\.sampling\.batch_size, which is 8"):
            sampler.rewrite(["a red ball"], [1], "draw")

    def test_gradient_checkpointing_changes_no_loss(
        self, llama: Path, instruction: Instruction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        used: list[bool] = []
        checkpoint = modeling_utils.checkpoint

        def spy(*arguments: Any, **named: Any) -> Any:
            used.append(True)
            return checkpoint(*arguments, **named)

        monkeypatch.setattr(modeling_utils, "checkpoint", spy)
        for name, chosen in (("kept", False), ("twice", True)):
            settings = STEADY.model_copy(update={"gradient_checkpointing": chosen})
            train_sft(PAIRS, Chain(llama, ()), instruction, settings, make_run(tmp_path, name))
            assert bool(used) == chosen
        losses = [log_of(tmp_path / name)["loss"].to_numpy() for name in ("kept", "twice")]
        assert losses[0] == pytest.approx(losses[1], abs=1e-3)


@pytest.fixture(scope="module")
def by_type(llama: Path, instruction: Instruction, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Boosters trained in each type."""
    folder = tmp_path_factory.mktemp("types")
    for dtype in ("auto", "float32", "bfloat16"):
        run = make_run(folder, dtype, device="cpu", dtype=dtype)
        train_sft(PAIRS, Chain(llama, ()), instruction, STEADY, run)
    return {dtype: folder / dtype for dtype in ("auto", "float32", "bfloat16")}


class TestDtypes:
    def test_each_type_trains_and_rounds_in_its_own_way(self, by_type: dict[str, Path]) -> None:
        losses = {dtype: log_of(folder)["loss"].to_numpy() for dtype, folder in by_type.items()}
        assert losses["float32"] == pytest.approx(losses["bfloat16"], abs=0.05)
        assert (losses["float32"] != losses["bfloat16"]).any()
        taken = {dtype: json.loads((folder / CARD).read_text())["dtype"] for dtype, folder in by_type.items()}
        chosen = "bfloat16" if processor_has_bfloat16() else "float32"
        assert taken == {"auto": chosen, "float32": "float32", "bfloat16": "bfloat16"}
        assert losses["auto"].tolist() == losses[chosen].tolist()

    def test_adapters_are_float32_always(self, by_type: dict[str, Path]) -> None:
        for folder in by_type.values():
            weights = load_file(folder / "adapter/adapter_model.safetensors")
            assert {weight.dtype for weight in weights.values()} == {torch.float32}

    def test_sampling_takes_the_type(self, by_type: dict[str, Path], llama: Path, instruction: Instruction) -> None:
        chosen = torch.bfloat16 if processor_has_bfloat16() else torch.float32
        for dtype, expected in (("auto", chosen), ("bfloat16", torch.bfloat16), ("float32", torch.float32)):
            chain = read_chain(llama, by_type["float32"])
            config = booster_config(sampling={"batch_size": 2}, device="cpu", dtype=dtype)
            sampler = Sampler(chain, instruction, config)
            assert sampler._model.dtype == expected

    def test_kept_buffers_are_those_of_a_model_loaded_in_the_type(self, by_type: dict[str, Path], llama: Path) -> None:
        loaded: Any = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.bfloat16)
        for chain in (Chain(llama, ()), read_chain(llama, by_type["float32"])):
            kept: Any = load_chain(chain, "bfloat16")[0]
            assert {weight.dtype for weight in kept.parameters()} == {torch.bfloat16}
            assert torch.equal(kept.model.rotary_emb.inv_freq, loaded.model.rotary_emb.inv_freq)
            assert kept.model.rotary_emb.inv_freq.dtype == torch.float32
            assert kept.lm_head.weight is kept.model.embed_tokens.weight
        ours = load_chain(Chain(llama, ()), "bfloat16")[0].state_dict()
        assert all(torch.equal(ours[name], weight) for name, weight in loaded.state_dict().items())


@pytest.fixture(scope="module")
def booster(llama: Path, instruction: Instruction, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`sft`, with `dpo-1` beside it."""
    folder = tmp_path_factory.mktemp("cards")
    train_sft(PAIRS, Chain(llama, ()), instruction, SFT, make_run(folder, "sft"))
    train_dpo(TRIPLES, read_chain(llama, folder / "sft"), instruction, DPO, make_run(folder, "dpo-1", "../sft"))
    return folder / "sft"


class TestCard:
    def test_the_json_names_base_data_settings_and_devices(self, booster: Path, llama: Path) -> None:
        card = json.loads((booster / CARD).read_text())
        manifest = json.loads((llama / "manifest.json").read_text())
        assert card["base_model"]["name"] == "tiny" == manifest["name"]
        assert card["base_model"]["kind"] == "local" and card["base_model"]["revision"] is None
        assert len(card["base"]) == len(card["data"]) == 64
        assert card["settings"] == SFT.model_dump()
        dtype = "bfloat16" if processor_has_bfloat16() else "float32"
        assert (card["devices"], card["dtype"], card["steps"], card["threads"]) == (1, dtype, 4, 1)
        (session,) = card["trained_on"]
        assert session["device"] == processor() and session["from_step"] == 0
        packages = ("torch", "transformers", "trl", "peft", "accelerate")
        assert {name: session["packages"][name] for name in packages} == {name: version(name) for name in packages}

    def test_the_readme_says_what_it_is_and_how_it_went(self, booster: Path) -> None:
        card = json.loads((booster / CARD).read_text())
        for name, method in (("sft", "supervised fine-tuning"), ("dpo-1", "direct preference optimisation")):
            folder = booster.parent / name
            text = (folder / "adapter/README.md").read_text()
            assert text.startswith("---\nlibrary_name: peft\nbase_model: tiny\n")
            for part in (f"# Booster `{name}`", method, card["base"], "8 examples, SHA-256", "## License", "license"):
                assert part in text
            assert f"| trained on | {processor()}, Python " in text and f"torch {version('torch')}, tr" in text
            last = log_of(folder).iloc[-1]
            assert f"| loss | {last['loss']:.6g} |" in text
            assert str(booster.parent) not in text and "$" not in text.replace("`$prompt`", "")
        assert "starts from | booster `../sft`, merged" in (booster.parent / "dpo-1/adapter/README.md").read_text()
        assert "rewards/margins" in (booster.parent / "dpo-1/adapter/README.md").read_text()

    def test_the_way_to_load_it_works_as_written(self, booster: Path, llama: Path) -> None:
        text = (booster / "adapter/README.md").read_text()
        code = text.split("```python\n")[1].split("```")[0]
        names: dict[str, Any] = {}
        exec(code.replace("BASE MODEL", str(llama)).replace("THIS BOOSTER", str(booster)), names)
        base = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
        by_hand: Any = PeftModel.from_pretrained(base, booster / "adapter").merge_and_unload()
        by_hand.to(torch.bfloat16 if processor_has_bfloat16() else torch.float32)
        for ours, theirs in zip(names["model"].parameters(), by_hand.parameters(), strict=True):
            assert torch.equal(ours, theirs)


class Engine(ModuleType):
    """Stands in for the module vllm, as its documentation has it: `LLM(model, ...)`, `SamplingParams`, and
    `generate(prompts, sampling_params)`, whose outputs keep the order of the prompts and hold token ids.

    It draws with transformers from the folder it was given, so that texts show what really was loaded and asked.
    """

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__("vllm")
        self.__spec__ = ModuleSpec("vllm", None)
        self.engines: list[dict[str, Any]] = []
        self.asked: list[tuple[list[int], Any]] = []
        outer = self

        class LLM:
            def __init__(self, model: str, **options: Any) -> None:
                if error:
                    raise error
                outer.engines.append({"model": model, **options, "environment": dict(os.environ)})
                dtype = getattr(torch, options["dtype"])
                self.model: Any = AutoModelForCausalLM.from_pretrained(model, dtype=dtype)
                self.tokenizer: Any = AutoTokenizer.from_pretrained(model)

            def generate(self, prompts: Sequence[dict[str, list[int]]], params: Sequence[Any], use_tqdm: bool) -> Any:
                assert len(prompts) == len(params)
                return [
                    self.one(prompt["prompt_token_ids"], chosen) for prompt, chosen in zip(prompts, params, strict=True)
                ]

            def one(self, row: list[int], params: Any) -> Any:
                outer.asked.append((row, params))
                torch.manual_seed(params.seed)
                output = self.model.generate(
                    torch.tensor([row]),
                    do_sample=True,
                    temperature=params.temperature,
                    top_k=params.top_k if params.top_k > 0 else 0,
                    top_p=params.top_p,
                    max_new_tokens=params.max_tokens,
                )
                return SimpleNamespace(outputs=[SimpleNamespace(token_ids=tuple(output[0, len(row) :].tolist()))])

        def sampling_params(**options: Any) -> Any:
            assert set(options) == {"temperature", "top_p", "top_k", "max_tokens", "stop_token_ids", "seed"}
            return SimpleNamespace(**options)

        self.LLM, self.SamplingParams = LLM, sampling_params


Install = Callable[..., Engine]


@pytest.fixture(scope="module")
def chain(booster: Path, llama: Path) -> Chain:
    """Two adapters over the tiny Llama."""
    return read_chain(llama, booster.parent / "dpo-1")


class TestVllm:
    SAMPLING: ClassVar[dict[str, Any]] = {
        "max_new_tokens": 8,
        "max_prompt_tokens": 64,
        "batch_size": 4,
        "engine": "vllm",
        "gpu_memory": 0.5,
    }
    CONFIG = booster_config(sampling=SAMPLING, device="cpu")

    @pytest.fixture
    def install(self, monkeypatch: pytest.MonkeyPatch) -> Install:
        """Installs the stand-in."""

        def make(error: Exception | None = None) -> Engine:
            for name in vllm.REPRODUCIBLE:
                monkeypatch.setenv(name, "")  # so that it is put back afterwards
                monkeypatch.delenv(name)
            engine = Engine(error)
            monkeypatch.setitem(sys.modules, "vllm", engine)
            return engine

        return make

    def test_it_asks_with_the_same_tokens_and_a_seed_each(
        self, install: Install, chain: Chain, instruction: Instruction
    ) -> None:
        engine = install()
        prompts, seeds = ["a red ball", "a blue ball", "a red ball"], [7, 8, 9]
        sampler = VllmSampler(chain, instruction, self.CONFIG)
        texts = sampler.rewrite(prompts, seeds, "draw")
        plain = Sampler(chain, instruction, self.CONFIG)
        assert [row for row, _ in engine.asked] == [plain._encode(prompt) for prompt in prompts]
        assert [params.seed for _, params in engine.asked] == seeds
        assert {(params.temperature, params.top_p, params.top_k) for _, params in engine.asked} == {(1.0, 1.0, 50)}
        assert {params.max_tokens for _, params in engine.asked} == {8}
        assert {tuple(params.stop_token_ids) for _, params in engine.asked} == {tuple(plain.ends)}
        assert len(set(texts)) == 3
        assert sampler.rewrite(prompts[::-1], seeds[::-1], "again") == texts[::-1]

    def test_the_engine_gets_the_merged_chain(self, install: Install, chain: Chain, instruction: Instruction) -> None:
        engine = install()
        sampler = VllmSampler(chain, instruction, self.CONFIG)
        dtype = "bfloat16" if processor_has_bfloat16() else "float32"
        (options,) = engine.engines
        environment = options.pop("environment")
        folder = Path(options.pop("model"))
        assert options == {
            "dtype": dtype,
            "seed": 0,
            "max_model_len": 72,
            "gpu_memory_utilization": 0.5,
            "generation_config": "vllm",
        }
        assert {name: environment[name] for name in vllm.REPRODUCIBLE} == vllm.REPRODUCIBLE
        expected = load_chain(chain, dtype)[0].state_dict()
        merged = sampler._engine.model.state_dict()
        assert all(torch.equal(merged[name], weight) for name, weight in expected.items())
        assert folder.is_dir()
        sampler._folder.cleanup()
        assert not folder.exists()

    def test_a_base_without_adapters_is_not_copied(
        self, install: Install, llama: Path, instruction: Instruction
    ) -> None:
        engine = install()
        VllmSampler(Chain(llama, ()), instruction, self.CONFIG.model_copy(update={"dtype": "float32"}))
        assert engine.engines[0]["model"] == str(llama)
        assert engine.engines[0]["dtype"] == "float32"

    def test_top_k_of_zero_means_all_and_the_environment_wins(
        self, install: Install, llama: Path, instruction: Instruction, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engine = install()
        monkeypatch.setenv("VLLM_BATCH_INVARIANT", "0")
        config = booster_config(sampling=self.SAMPLING | {"top_k": 0}, device="cpu")
        VllmSampler(Chain(llama, ()), instruction, config).rewrite(["a red ball"], [1], "draw")
        assert engine.asked[0][1].top_k == -1
        assert engine.engines[0]["environment"]["VLLM_BATCH_INVARIANT"] == "0"

    def test_the_configuration_chooses_the_engine(self, install: Install, chain: Chain, tmp_path: Path) -> None:
        engine = install()
        (tmp_path / "i.txt").write_text("Rewrite: $prompt")
        config = booster_config(instruction=str(tmp_path / "i.txt"), device="cpu", sampling=self.SAMPLING)
        booster = BoosterRefiner(config, chain.base, chain.adapters[-1].parent, run_seed=1)
        drawn = booster.candidates(["p1", "p2"], ["a red ball", "a blue ball"], 3, 1)
        assert {key: len(set(texts)) for key, texts in drawn.items()} == {"p1": 3, "p2": 3}
        assert len({params.seed for _, params in engine.asked}) == 6
        found = booster.circumstances()
        assert found["engine"] == f"vllm {found['packages']['vllm']}" and found["device"] == processor()

    @pytest.mark.parametrize(("there", "gpu"), [(True, True), (True, False), (False, True)])
    def test_auto_takes_it_where_it_is_installed_and_there_is_a_gpu(
        self,
        install: Install,
        chain: Chain,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        there: bool,
        gpu: bool,
    ) -> None:
        if there:
            install()
        monkeypatch.setattr("promptavideo.refiners.booster.choose_device", lambda device, key: "cuda" if gpu else "cpu")
        (tmp_path / "i.txt").write_text("Rewrite: $prompt")
        settings = self.SAMPLING | {"engine": "auto"}
        config = booster_config(instruction=str(tmp_path / "i.txt"), device="cpu", sampling=settings)
        with caplog.at_level(logging.INFO):
            booster = BoosterRefiner(config, chain.base, chain.adapters[-1].parent, run_seed=1)
        assert type(booster._sampler) is (VllmSampler if there and gpu else Sampler)
        assert f"auto takes {'vllm' if there and gpu else 'generate'} here" in caplog.text
        drew = booster.circumstances()["engine"]
        assert drew.startswith("vllm ") if there and gpu else drew == f"transformers {version('transformers')}"

    def test_without_vllm_the_message_says_what_to_do(self, llama: Path, instruction: Instruction) -> None:
        with pytest.raises(InputError, match=r"booster\.sampling\.engine: vllm is not installed .*engine to generate"):
            VllmSampler(Chain(llama, ()), instruction, self.CONFIG)

    @pytest.mark.parametrize(
        "error",
        [
            ValueError("Free memory on device is less than desired GPU memory utilization\nmore"),
            RuntimeError("Engine core initialization failed"),
            torch.OutOfMemoryError("CUDA out of memory."),
        ],
    )
    def test_an_engine_that_does_not_start_says_why(
        self, install: Install, llama: Path, instruction: Instruction, error: Exception
    ) -> None:
        install(error)
        words = str(error).splitlines()[0].rstrip(".")
        with pytest.raises(InputError, match=rf"{words}.*lower booster\.sampling\.gpu_memory, which is 0\.5"):
            VllmSampler(Chain(llama, ()), instruction, self.CONFIG)

    def test_a_full_disk_is_named(
        self, install: Install, chain: Chain, instruction: Instruction, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install()

        def no_room(self: Any, folder: Path) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", no_room)
        with pytest.raises(InputError, match=r"merged booster \(0\.0 GB\) cannot be written .*TMPDIR"):
            VllmSampler(chain, instruction, self.CONFIG)


def test_noise_on_the_device_of_the_scores_is_the_cpus_own() -> None:
    scores = torch.zeros(2, 50)
    assert torch.equal(GumbelNoise([1, 2], "cpu")(scores, scores), GumbelNoise([1, 2])(scores, scores))


def test_settings_have_their_bounds() -> None:
    for entry in ({"devices": 0}, {"dtype": "float16"}, {"device": "gpu"}, {"sampling": {"engine": "tgi"}}):
        with pytest.raises(ValidationError):
            booster_config(**entry)
    assert isinstance(booster_config(devices=2).sft, TrainSettings) and isinstance(booster_config().dpo, DpoSettings)
