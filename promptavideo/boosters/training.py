"""Train a booster's next LoRA adapter with trl: SFT on pairs, DPO on triples, on one device or several."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from promptavideo.boosters import launch
from promptavideo.boosters.base import TEMPLATE_OPTIONS, check_prefix, check_targets, encode, turn_ends
from promptavideo.boosters.card import write_readme
from promptavideo.boosters.chat import Instruction, Message
from promptavideo.boosters.config import BoosterConfig, LoraSettings, TrainSettings, accumulation
from promptavideo.boosters.load import CARD, Chain, load_chain
from promptavideo.devices import choose_device, enough_memory
from promptavideo.dtypes import resolve
from promptavideo.errors import InputError
from promptavideo.files import sha256, write_text
from promptavideo.hardware import device_name, environment
from promptavideo.models import check_model
from promptavideo.progress import Progress

log = logging.getLogger(__name__)

WEIGHTS = "adapter_model.safetensors"
"""An adapter's file, as peft writes it."""

SESSIONS = "sessions.json"
"""Beside the checkpoints: which machines made them."""

Example = dict[str, list[Message]]
"""A conversation's prompt and its answers, by the trainer's column names."""


@dataclass(frozen=True)
class Run:
    """Where one training happens."""

    output: Path
    """The booster's folder; gets `adapter/`, `log.csv` and its card."""
    checkpoints: Path
    """Root of the checkpoints, outside the declared outputs, so that a killed run resumes."""
    previous: str | None
    """The booster it starts from, relative to `output`, or None for the base model."""
    seed: int
    """Seeds the adapter's weights, the order of examples and the dropout."""
    booster: BoosterConfig
    """On what it is trained: device, processes, threads and dtype."""
    released: tuple[dict[str, Any], ...] = ()
    """What the card says of released pairs in its data (see `pairs.origin_of`)."""

    @property
    def elsewhere(self) -> dict[str, Any]:
        """What the card says of data that was not made here."""
        return {"released_pairs": list(self.released)} if self.released else {}

    @property
    def finished(self) -> Path:
        """Folder of all finished trainings, in which one that was done before is found."""
        return self.checkpoints.with_name("boosters")


class _Report(TrainerCallback):
    """Turns the trainer's steps into progress lines."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._progress: Progress | None = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero and self._progress is None:
            self._progress = Progress(self._stage, state.max_steps, "steps", done=state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._progress is not None:
            self._progress.advance(1)


def train(
    table: pd.DataFrame,
    chain: Chain,
    instruction: Instruction,
    settings: TrainSettings,
    run: Run,
    stage: str,
    answers: Mapping[str, str],
    trainer_class: Callable[..., SFTTrainer | DPOTrainer],
    arguments_class: Callable[..., SFTConfig | DPOConfig],
) -> None:
    """Train a LoRA adapter over a chain.

    Args:
        table: The data, with a column `prompt` and those of the answers.
        chain: The model to start from.
        instruction: Asks for the refined prompt, as in use.
        settings: Epochs, batch, learning rate, adapter.
        run: Where the booster goes, its seed and its place in the chain.
        stage: The section of `booster` that the settings are from, for messages and the card.
        answers: The columns of answers, by the trainer's names for them.
        trainer_class: trl's trainer.
        arguments_class: Its arguments, with those of the method filled in.

    Raises:
        InputError: There are no examples, one is too long, the batch cannot be split, or the model cannot be loaded.
    """
    examples = [
        {
            "prompt": instruction.ask(row["prompt"]),
            **{name: instruction.answer(row[column]) for name, column in answers.items()},
        }
        for row in table.to_dict("records")
    ]
    if not examples:
        raise InputError(f"there are no examples to train {run.output.name} on")
    devices = run.booster.devices
    if launch.processes() != devices:
        raise InputError(f"booster.devices is {devices}, but {launch.processes()} processes were started")
    accumulated = accumulation(settings, devices)
    torch.set_num_threads(run.booster.threads)
    # Of several processes each sees all GPUs of the job and takes its own.
    on_gpu = choose_device(run.booster.device, "booster.device", devices) == "cuda"
    dtype = resolve(run.booster.dtype, "cuda" if on_gpu else "cpu", "booster")
    base = check_model(chain.base)
    identity = {
        "stage": stage,
        "base": base.digest,
        "adapters": [sha256(adapter / WEIGHTS) for adapter in chain.adapters],
        "data": hashlib.sha256(table.to_csv(index=False).encode()).hexdigest(),
        "examples": len(table),
        "instruction": instruction.template.template,
        "settings": settings.model_dump(),
        "seed": run.seed,
        "threads": run.booster.threads,
        "devices": devices,
        "dtype": dtype,
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    checkpoints, finished = run.checkpoints / f"{run.output.name}-{digest}", run.finished / digest
    if _found(finished, run):
        log.info("this training is finished already: %s", finished)
        return
    model, tokenizer = load_chain(chain, dtype)
    turn_ends(chain.base, tokenizer)
    check_prefix(chain.base, tokenizer, instruction)
    check_targets(chain.base, settings.lora, f"booster.{stage}.lora")
    _check_lengths(examples, tokenizer, settings.max_length)
    arguments = _arguments(settings, run, checkpoints, len(table), accumulated, on_gpu, dtype == "bfloat16")
    with enough_memory(
        f"lower booster.{stage}.micro_batch_size, which is {settings.micro_batch_size} (batch_size stays: the rest is "
        f"accumulated), or set booster.{stage}.gradient_checkpointing to true"
    ):
        trainer = trainer_class(
            model=model,
            processing_class=tokenizer,
            train_dataset=_dataset(examples, checkpoints, devices, on_gpu),
            peft_config=lora_config(settings.lora, model.config.num_hidden_layers),
            args=arguments_class(max_length=settings.max_length, **arguments),
        )
        if devices > 1:
            launch.hold(trainer)
        trainer.add_callback(_Report(f"train {run.output.name}"))
        resumed = _last_complete(checkpoints)
        if launch.rank() == 0:
            _begin(checkpoints, resumed, device_name("cuda" if on_gpu else "cpu", devices))
        trainer.train(resume_from_checkpoint=resumed)
    if trainer.is_world_process_zero():
        origin = {"name": base.name, "kind": base.kind, "source": base.source, "revision": base.revision}
        trained_on = json.loads((checkpoints / SESSIONS).read_text(encoding="utf-8"))
        _write(trainer, run, finished, {**identity, **run.elsewhere, "base_model": origin, "trained_on": trained_on})
        _found(finished, run)
    if devices > 1:
        trainer.accelerator.wait_for_everyone()
    if launch.rank() == 0:
        shutil.rmtree(checkpoints)


def _dataset(examples: Sequence[Example], checkpoints: Path, devices: int, on_gpu: bool) -> Dataset:
    """The examples; of several processes the first puts them on disk for all.

    trl caches the reference's log-probabilities beside a dataset's file. For one in memory that is a temporary folder,
    another in each process, and what the first one wrote the others would not find.
    """
    dataset = Dataset.from_list([{**example, "chat_template_kwargs": TEMPLATE_OPTIONS} for example in examples])
    if devices == 1:
        return dataset
    from accelerate import PartialState

    state, folder = PartialState(cpu=not on_gpu), checkpoints / "data"
    if state.is_main_process:
        shutil.rmtree(folder, ignore_errors=True)  # half-written by a killed run, perhaps
        dataset.save_to_disk(folder)
    state.wait_for_everyone()
    return Dataset.load_from_disk(folder)


def _check_lengths(examples: Sequence[Example], tokenizer: Any, limit: int) -> None:
    """Refuse what the trainer would cut: an answer without its end teaches the model never to stop."""
    for example in examples:
        for name, answer in example.items():
            tokens = encode(tokenizer, example["prompt"] + answer)
            if name != "prompt" and len(tokens) > limit:
                raise InputError(
                    f"{name} {answer[0]['content'][:80]!r} takes {len(tokens)} tokens with its instruction, more than "
                    f"max_length = {limit}"
                )


def _arguments(
    settings: TrainSettings, run: Run, checkpoints: Path, examples: int, accumulated: int, on_gpu: bool, autocast: bool
) -> dict[str, Any]:
    checkpointing = settings.gradient_checkpointing
    steps = max(1, round(-(-examples // settings.batch_size) * settings.epochs))
    return {
        "output_dir": str(checkpoints),
        "per_device_train_batch_size": settings.micro_batch_size,
        "gradient_accumulation_steps": accumulated,
        "num_train_epochs": settings.epochs,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.schedule,
        "warmup_steps": round(settings.warmup_ratio * steps),
        "seed": run.seed % 2**31,
        "data_seed": run.seed % 2**31,
        "bf16": autocast,
        "use_cpu": not on_gpu,
        "gradient_checkpointing": on_gpu if checkpointing is None else checkpointing,
        "ddp_find_unused_parameters": False,  # every step uses the whole adapter
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": settings.checkpoint_steps,
        "save_total_limit": 2,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": on_gpu,
    }


def lora_config(settings: LoraSettings, layers: int) -> LoraConfig:
    """The adapter's configuration for a model of so many layers."""
    adapted = None if settings.layers is None else list(range(max(layers - settings.layers, 0), layers))
    return LoraConfig(
        layers_to_transform=adapted,
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets),
        task_type="CAUSAL_LM",
    )


def _last_complete(checkpoints: Path) -> str | None:
    """The newest checkpoint that was written to its end; the trainer writes `trainer_state.json` last."""
    for folder in sorted(checkpoints.glob("checkpoint-*"), key=lambda path: -int(path.name.split("-")[1])):
        try:
            json.loads((folder / "trainer_state.json").read_text())
        except (OSError, ValueError):
            shutil.rmtree(folder, ignore_errors=True)  # other processes do the same
            continue
        log.info("resuming from %s", folder)
        return str(folder)
    return None


def _begin(checkpoints: Path, resumed: str | None, device: str) -> None:
    """Record which machine and libraries a training goes on with, beside those that made the checkpoint it starts from.

    Args:
        checkpoints: The training's.
        resumed: The checkpoint it starts from, if any.
        device: What it computes on here.
    """
    path, step = checkpoints / SESSIONS, int(resumed.rsplit("-", 1)[1]) if resumed else 0
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    kept = [one for one in earlier if one["from_step"] < step]
    here = {"device": device, **environment()}
    if not kept or {**kept[-1], **here} != kept[-1]:
        kept.append({**here, "from_step": step})
    write_text(path, json.dumps(kept))


def _write(trainer: SFTTrainer | DPOTrainer, run: Run, finished: Path, card: dict[str, Any]) -> None:
    """Keep a finished booster, whole or not at all, so that a run that lost or forgot it finds it again."""
    partial = finished.with_name(f".{finished.name}")
    for place in (partial, finished):
        shutil.rmtree(place, ignore_errors=True)
    _save_adapter(trainer.model, partial / "adapter")
    steps = pd.DataFrame([entry for entry in trainer.state.log_history if "loss" in entry])
    steps[["step", *(column for column in steps if column != "step")]].to_csv(partial / "log.csv", index=False)
    card |= {"previous": run.previous, "steps": trainer.state.global_step}
    card |= {"adapter": sha256(partial / "adapter" / WEIGHTS)}
    metrics = {str(name): float(value) for name, value in steps.iloc[-1].dropna().items()}
    write_readme(partial / "adapter", run.output.name, card, metrics)
    write_text(partial / CARD, json.dumps(card, indent=2) + "\n")
    partial.rename(finished)


def _found(finished: Path, run: Run) -> bool:
    """Whether a training is finished; then the booster is put where it belongs."""
    try:
        card = json.loads((finished / CARD).read_text(encoding="utf-8"))
        whole = sha256(finished / "adapter" / WEIGHTS) == card["adapter"]
    except (OSError, ValueError, KeyError):
        return False
    if whole and launch.rank() == 0:
        run.output.mkdir(parents=True, exist_ok=True)
        shutil.copytree(finished / "adapter", run.output / "adapter", dirs_exist_ok=True)
        shutil.copyfile(finished / "log.csv", run.output / "log.csv")
        card |= {"previous": run.previous, **run.elsewhere}
        write_text(run.output / CARD, json.dumps(card, indent=2) + "\n")
    return whole


def _save_adapter(model: Any, folder: Path) -> None:
    """Save the adapter without what differs from run to run: the base model's path, and the order of a set."""
    model.save_pretrained(folder)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config |= {"base_model_name_or_path": None, "target_modules": sorted(config["target_modules"])}
    write_text(path, json.dumps(config, indent=2, sort_keys=True) + "\n")
