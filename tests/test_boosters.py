import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from makers import COLOURS, DPO, PAIRS, SFT, TRIPLES, booster_config, make_run, train_dpo, train_sft
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from trl import SFTTrainer

from promptavideo.answers import bound
from promptavideo.boosters import training
from promptavideo.boosters.chat import Instruction
from promptavideo.boosters.config import BoosterConfig, LoraSettings, SamplingSettings, TrainSettings
from promptavideo.boosters.load import CARD, Chain, load_chain, read_chain
from promptavideo.boosters.sampling import GumbelNoise, Sampler
from promptavideo.boosters.training import Run
from promptavideo.errors import InputError
from promptavideo.refiners.booster import BoosterRefiner


class TestInstruction:
    def test_asks_with_the_prompt_as_it_is(self, instruction: Instruction) -> None:
        assert instruction.ask("costs $5 {x} 🎉") == [{"role": "user", "content": "Rewrite: costs $5 {x} 🎉"}]

    @pytest.mark.parametrize("text", ["no placeholder", "$prompt and $other", "$prompt costs 5$", "$1 $prompt"])
    def test_other_placeholders_are_refused(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "i.txt").write_text(text)
        with pytest.raises(InputError, match=r"i\.txt: .*\$prompt and no other placeholder"):
            Instruction(tmp_path / "i.txt")

    def test_unreadable_files_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"none\.txt: .*cannot be read"):
            Instruction(tmp_path / "none.txt")
        (tmp_path / "latin.txt").write_bytes("$prompt caf\xe9".encode("latin-1"))
        with pytest.raises(InputError, match=r"latin\.txt: .*cannot be read"):
            Instruction(tmp_path / "latin.txt")


class TestCleanAnswer:
    @pytest.mark.parametrize(
        ("text", "limit", "expected"),
        [
            ("  A ball.\n\nIt\trolls. ", 9, "A ball. It rolls."),
            ("One two. Three four! Five six seven", 5, "One two. Three four!"),
            ("One two. Three four", 2, "One two."),
            ("one two three four", 3, "one two three"),
            ("a\x00b\x1b[31m c\u202e d\u200b", 9, "a b [31m c d"),
            ("\u200b\n \x00", 9, ""),
        ],
    )
    def test_one_clean_line_cut_at_a_sentence(self, text: str, limit: int, expected: str) -> None:
        assert bound(text, limit)[0] == expected


class TestGumbelNoise:
    def test_draws_follow_the_softmax_and_ruled_out_tokens_stay_out(self) -> None:
        probabilities = torch.tensor([0.5, 0.25, 0.125, 0.1, 0.025])
        scores = torch.cat([probabilities.log(), torch.tensor([-torch.inf, -torch.inf])])
        draws = 20_000
        drawn = GumbelNoise(range(draws))(torch.zeros(draws, 1), scores.expand(draws, -1)).argmax(1)
        counts = torch.bincount(drawn, minlength=7)
        assert counts[5:].sum() == 0
        expected = probabilities * draws
        # Each row is the first draw of another seed: neighbouring seeds must not be alike. 0.999 quantile, 4 degrees.
        assert ((counts[:5] - expected).square() / expected).sum() < 18.5

    def test_later_draws_of_one_seed_follow_it_too_and_no_noise_is_infinite(self) -> None:
        probabilities = torch.tensor([0.4, 0.3, 0.2, 0.1])
        noise, counts = GumbelNoise([7]), torch.zeros(4)
        for _ in range(4000):
            scores = noise(torch.zeros(1, 1), probabilities.log()[None])
            assert scores.isfinite().all()
            counts[scores.argmax()] += 1
        expected = probabilities * 4000
        assert ((counts - expected).square() / expected).sum() < 16.3  # 0.999 quantile, 3 degrees

    def test_a_row_has_its_own_stream(self) -> None:
        scores = torch.zeros(2, 50)
        together, alone = GumbelNoise([1, 2]), GumbelNoise([2])
        for _ in range(3):
            pair, single = together(scores, scores), alone(scores[:1], scores[:1])
            assert torch.equal(pair[1], single[0])
            assert not torch.equal(pair[0], pair[1])


MakeSampler = Callable[..., Sampler]


@pytest.fixture(scope="module")
def sampler(outspoken: Path, instruction: Instruction) -> MakeSampler:
    def make(workers: int = 1, **settings: Any) -> Sampler:
        chosen = {"max_new_tokens": 16, "max_prompt_tokens": 64, "batch_size": 8, **settings}
        return Sampler(
            Chain(outspoken, ()), instruction, booster_config(sampling=chosen, threads=workers, device="cpu")
        )

    return make


class TestSampler:
    def test_a_text_depends_on_its_prompt_and_seed_only(self, sampler: MakeSampler) -> None:
        booster = sampler()
        prompts = [f"a {COLOURS[place % 8]} ball {'x' * (place % 11)}" for place in range(50)]
        seeds = [1000 + place for place in range(50)]
        texts = booster.rewrite(prompts, seeds, "all")
        assert len(set(texts)) == 50
        assert booster.rewrite(prompts[::-1], seeds[::-1], "reversed") == texts[::-1]
        for place in (0, 7, 8, 49):
            assert booster.rewrite([prompts[place]], [seeds[place]], "alone") == [texts[place]]
        places = (49, 3, 20)
        three = booster.rewrite([prompts[place] for place in places], [seeds[place] for place in places], "three")
        assert three == [texts[place] for place in places]
        assert sampler(workers=3).rewrite(prompts, seeds, "three calls at a time") == texts

    def test_rows_of_a_batch_get_bitwise_equal_logits(self, sampler: MakeSampler) -> None:
        booster = sampler()
        prompts, kept = [f"a {colour} ball" for colour in COLOURS], list[torch.Tensor]()
        forward = booster._model.forward

        def spy(*arguments: Any, **named: Any) -> Any:
            output = forward(*arguments, **named)
            kept.append(output.logits[:, -1].clone())
            return output

        booster._model.forward = spy
        booster.rewrite(prompts, range(8), "in order")
        booster.rewrite(prompts[::-1], range(8)[::-1], "reversed")
        half = len(kept) // 2
        assert half > 1
        for before, after in zip(kept[:half], kept[half:], strict=True):
            assert torch.equal(before, after.flip(0))
            assert not torch.equal(before[0], before[1])

    def test_seeds_give_different_texts(self, sampler: MakeSampler) -> None:
        booster = sampler()
        assert len(set(booster.rewrite(["a red ball"] * 5, range(5), "seeds"))) == 5

    def test_top_k_and_top_p_limit_the_draw(self, sampler: MakeSampler) -> None:
        for settings in ({"top_k": 1}, {"top_k": 0, "top_p": 1e-6}):
            assert len(set(sampler(**settings).rewrite(["a red ball"] * 5, range(5), "greedy"))) == 1
        first = {text.split()[0] for text in sampler(top_k=3).rewrite(["a red ball"] * 64, range(64), "top 3")}
        assert 1 < len(first) <= 3
        cold = sampler(temperature=1e-4).rewrite(["a red ball"] * 5, range(5), "cold")
        assert len(set(cold)) == 1

    def test_long_prompts_are_refused_before_anything_is_drawn(
        self, sampler: MakeSampler, caplog: pytest.LogCaptureFixture
    ) -> None:
        booster = sampler(batch_size=1)
        with (
            caplog.at_level(logging.INFO, "promptavideo"),
            pytest.raises(InputError, match=r"'a 5{78}' takes \d+ tokens .*max_prompt_tokens = 64"),
        ):
            booster.rewrite(["a red ball", "a " + "5" * 100], [1, 2], "long")
        assert not caplog.messages

    def test_answers_are_cleaned_and_cut_and_empty_ones_fall_back(
        self, sampler: MakeSampler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        booster = sampler(max_words=4)
        answers = ["A\x00 ball\nrolls.  Then it stops.", " \u200b\n", "a b c d e", ""]
        monkeypatch.setattr(booster, "_draw", lambda asked, seeds: answers)
        assert booster.rewrite(["p0", "p1", "p2", "p3"], range(4), "refine") == ["A ball rolls.", "p1", "a b c d", "p3"]
        counted = [message for message in caplog.messages if "candidates" not in message]  # which are its progress
        assert counted == ["refine: 2 of 4 answers are not usable (empty: 2); the prompt itself stands in"]

    def test_no_prompts_give_no_texts(self, sampler: MakeSampler) -> None:
        assert sampler().rewrite([], [], "none") == []


def trained(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def same(one: Path, two: Path) -> bool:
    first, second = trained(one), trained(two)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def boosters(llama: Path, instruction: Instruction, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `sft`, and `dpo-1` trained from it."""
    folder = tmp_path_factory.mktemp("boosters")
    train_sft(PAIRS, Chain(llama, ()), instruction, SFT, make_run(folder, "sft"))
    train_dpo(TRIPLES, read_chain(llama, folder / "sft"), instruction, DPO, make_run(folder, "dpo-1", "../sft"))
    return folder


class KilledError(Exception):
    """Stands in for the end of the process."""


def kill_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the next trainings stop once the checkpoint of `step` is written."""

    def on_save(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == step:
            raise KilledError

    monkeypatch.setattr(training._Report, "on_save", on_save, raising=False)


class TestTraining:
    def test_leaves_adapter_log_and_card_and_no_checkpoints(self, boosters: Path, llama: Path) -> None:
        for name, previous, merged in (("sft", None, 0), ("dpo-1", "../sft", 1)):
            card = json.loads((boosters / name / CARD).read_text())
            assert (card["previous"], len(card["adapters"]), card["seed"], card["examples"]) == (previous, merged, 5, 8)
            assert len(trained(boosters / name)) == 2 * 7 * 2  # two matrices, seven targets, two layers
        assert list((boosters / "checkpoints").iterdir()) == []
        sft, dpo = (pd.read_csv(boosters / name / "log.csv") for name in ("sft", "dpo-1"))
        assert list(sft["step"]) == list(dpo["step"]) == [1, 2, 3, 4]
        assert list(sft)[:2] == list(dpo)[:2] == ["step", "loss"]
        assert {"rewards/margins", "rewards/accuracies"} <= set(dpo)

    def test_only_the_last_layers_are_adapted_where_so_configured(
        self, llama: Path, instruction: Instruction, tmp_path: Path
    ) -> None:
        settings = SFT.model_copy(update={"lora": LoraSettings(layers=1)})
        train_sft(PAIRS, Chain(llama, ()), instruction, settings, make_run(tmp_path, "sft"))
        adapted = load_file(tmp_path / "sft/adapter/adapter_model.safetensors")
        assert len(adapted) == 2 * 7 and all(".layers.1." in name for name in adapted)  # of layers 0 and 1
        merged: Any = load_chain(read_chain(llama, tmp_path / "sft"), "float32")[0].state_dict()
        base: Any = load_chain(Chain(llama, ()), "float32")[0].state_dict()
        changed = {name for name in base if not torch.equal(base[name], merged[name])}
        assert len(changed) == 7 and all(".layers.1." in name for name in changed)

    def test_losses_are_those_of_the_published_formulas(
        self, llama: Path, instruction: Instruction, tmp_path: Path
    ) -> None:
        """Written once from log-probabilities in float64, template and formulas spelled out; DPO's after one step."""
        plain = {"batch_size": 8, "learning_rate": 0.01, "lora": LoraSettings(r=4, alpha=8)}
        runs = [make_run(tmp_path, name, dtype="float32") for name in ("sft", "dpo")]
        train_sft(PAIRS, Chain(llama, ()), instruction, SFT.model_copy(update=plain), runs[0])
        train_dpo(TRIPLES, Chain(llama, ()), instruction, DPO.model_copy(update=plain), runs[1])
        sft, dpo = (pd.read_csv(run.output / "log.csv")["loss"] for run in runs)
        assert sft[0] == pytest.approx(6.6016802, abs=2e-6)
        assert dpo.tolist() == pytest.approx([0.6931472, 0.6632275], abs=2e-6)

    def test_the_learning_rate_falls_as_configured(
        self, boosters: Path, llama: Path, instruction: Instruction, tmp_path: Path
    ) -> None:
        settings = DPO.model_copy(update={"schedule": "linear"})
        train_dpo(TRIPLES, Chain(llama, ()), instruction, settings, make_run(tmp_path, "dpo-1"))
        for folder, expected in (
            (tmp_path, [0.05, 0.0375, 0.025, 0.0125]),
            (boosters, [0.05, 0.0426777, 0.025, 0.0073223]),  # 0.05 (1 + cos(k pi / 4)) / 2
        ):
            log = pd.read_csv(folder / "dpo-1" / "log.csv")
            assert log["learning_rate"].tolist() == pytest.approx(expected, abs=1e-7)

    def test_loss_goes_down(self, outspoken: Path, instruction: Instruction, tmp_path: Path) -> None:
        settings = SFT.model_copy(update={"epochs": 6.0, "lora": LoraSettings(r=8, alpha=32)})
        train_sft(PAIRS, Chain(outspoken, ()), instruction, settings, make_run(tmp_path, "sft"))
        loss = pd.read_csv(tmp_path / "sft" / "log.csv")["loss"]
        assert loss.iloc[-1] < loss.iloc[0] - 0.5

    def test_preference_margin_grows_from_zero(self, boosters: Path) -> None:
        log = pd.read_csv(boosters / "dpo-1" / "log.csv")
        # The reference is the previous booster, and a fresh adapter changes nothing.
        assert log["rewards/margins"].iloc[0] == pytest.approx(0, abs=1e-6)
        assert log["loss"].iloc[0] == pytest.approx(0.693147, abs=1e-5)
        assert log["rewards/margins"].iloc[-1] > 0.05
        assert log["rewards/accuracies"].iloc[-1] == 1

    def test_only_the_answer_counts_in_the_loss(
        self, llama: Path, instruction: Instruction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        labels: list[torch.Tensor] = []
        compute = SFTTrainer.compute_loss

        def spy(self: Any, model: Any, inputs: Any, *arguments: Any, **named: Any) -> Any:
            labels.append(inputs["labels"].clone())
            return compute(self, model, inputs, *arguments, **named)

        monkeypatch.setattr(SFTTrainer, "compute_loss", spy)
        train_sft(PAIRS[:4], Chain(llama, ()), instruction, SFT, make_run(tmp_path, "sft"))
        _, tokenizer = load_chain(Chain(llama, ()), "float32")
        counted = {tokenizer.decode(row[row != -100]) for batch in labels for row in batch}
        assert counted == {f"{refined}<|im_end|>\n" for refined in PAIRS["refined"][:4]}

    def test_the_same_seed_gives_the_same_weights_and_another_does_not(
        self, boosters: Path, llama: Path, instruction: Instruction, tmp_path: Path
    ) -> None:
        for name, seed in (("again", 5), ("other", 6)):
            torch.manual_seed(seed + 100)
            train_sft(PAIRS, Chain(llama, ()), instruction, SFT, make_run(tmp_path, name, seed=seed))
        for file in ("adapter_model.safetensors", "adapter_config.json"):
            first, second = (folder / "adapter" / file for folder in (boosters / "sft", tmp_path / "again"))
            assert first.read_bytes() == second.read_bytes()
        assert not same(boosters / "sft", tmp_path / "other")

    @pytest.mark.parametrize("step", [1, 3, 4])
    def test_a_stopped_sft_goes_on_to_the_same_weights(
        self,
        boosters: Path,
        llama: Path,
        instruction: Instruction,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        step: int,
    ) -> None:
        run = make_run(tmp_path, "sft")
        with monkeypatch.context() as patch, pytest.raises(KilledError):
            kill_after(step, patch)
            train_sft(PAIRS, Chain(llama, ()), instruction, SFT, run)
        assert not run.output.exists()
        torch.manual_seed(step)
        with caplog.at_level(logging.INFO, "promptavideo"):
            train_sft(PAIRS, Chain(llama, ()), instruction, SFT, run)
        assert any(f"resuming from {run.checkpoints}" in line and f"-{step}" in line for line in caplog.messages)
        assert same(boosters / "sft", run.output)
        unbroken, resumed = (pd.read_csv(folder / "log.csv") for folder in (boosters / "sft", run.output))
        assert list(unbroken["loss"]) == list(resumed["loss"])

    def test_a_stopped_training_records_every_machine_that_made_its_steps(
        self, llama: Path, instruction: Instruction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run, chain = make_run(tmp_path, "sft"), Chain(llama, ())
        for device, step in (("GPU A", 1), ("GPU B", 2), ("GPU B", 3)):
            monkeypatch.setattr(training, "device_name", lambda kind, count, device=device: device)
            with monkeypatch.context() as patch, pytest.raises(KilledError):
                kill_after(step, patch)
                train_sft(PAIRS, chain, instruction, SFT, run)
        train_sft(PAIRS, chain, instruction, SFT, run)
        sessions = json.loads((run.output / CARD).read_text())["trained_on"]
        assert [(one["device"], one["from_step"]) for one in sessions] == [("GPU A", 0), ("GPU B", 1)]
        text = (run.output / "adapter/README.md").read_text()
        assert "| trained on | GPU A, Python " in text and "; then GPU B, Python " in text

    def test_a_dpo_killed_by_the_system_goes_on_to_the_same_weights(
        self, boosters: Path, llama: Path, instruction: Instruction, tmp_path: Path
    ) -> None:
        run = make_run(tmp_path, "dpo-1", "../sft")
        script = f"""
            import os, signal
            from pathlib import Path
            from promptavideo.boosters import training
            from promptavideo.boosters.chat import Instruction
            from promptavideo.boosters.load import read_chain
            import conftest, test_boosters as t

            def on_save(self, args, state, control, **kwargs):
                if state.global_step == 2:
                    os.kill(os.getpid(), signal.SIGKILL)

            training._Report.on_save = on_save
            folder = Path({str(tmp_path)!r})
            (folder / "i.txt").write_text("Rewrite: $prompt")
            chain = read_chain(Path({str(llama)!r}), Path({str(boosters / "sft")!r}))
            run = t.make_run(folder, "dpo-1", "../sft")
            t.train_dpo(t.TRIPLES, chain, Instruction(folder / "i.txt"), t.DPO, run)
        """
        here = Path(__file__).parent
        ended = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            env={**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{here.parent}", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        (kept,) = run.checkpoints.iterdir()
        assert {path.name for path in kept.glob("checkpoint-*")} == {"checkpoint-1", "checkpoint-2"}
        train_dpo(TRIPLES, read_chain(llama, boosters / "sft"), instruction, DPO, run)
        assert same(boosters / "dpo-1", run.output)
        assert list(run.checkpoints.iterdir()) == []

    def test_changed_data_settings_or_seed_start_anew(
        self,
        llama: Path,
        instruction: Instruction,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        other = tmp_path / "other.txt"
        other.write_text("Improve: $prompt")
        chain, run = Chain(llama, ()), make_run(tmp_path, "sft")
        threads = make_run(tmp_path, "sft", threads=2)
        cases: list[tuple[pd.DataFrame, Instruction, TrainSettings, Run]] = [
            (PAIRS, instruction, SFT, run),
            (PAIRS.assign(refined=PAIRS["refined"] + "."), instruction, SFT, run),
            (PAIRS[::-1], instruction, SFT, run),
            (PAIRS, instruction, SFT.model_copy(update={"learning_rate": 0.04}), run),
            (PAIRS, instruction, SFT, make_run(tmp_path, "sft", seed=6)),
            (PAIRS, Instruction(other), SFT, run),
            (PAIRS, instruction, SFT, threads),
        ]
        kill_after(1, monkeypatch)
        with caplog.at_level(logging.INFO, "promptavideo"):
            for table, text, settings, place in cases:
                with pytest.raises(KilledError):
                    train_sft(table, chain, text, settings, place)
        torch.set_num_threads(1)
        assert not any("resuming" in line for line in caplog.messages)
        assert len(list(run.checkpoints.iterdir())) == len(cases)

    def test_a_finished_training_is_found_whatever_its_booster_is_called_and_a_damaged_one_is_not(
        self, llama: Path, instruction: Instruction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chain = Chain(llama, ())
        first, again = make_run(tmp_path, "sft"), make_run(tmp_path, "universal")
        train_sft(PAIRS, chain, instruction, SFT, first)
        with monkeypatch.context() as patch:
            kill_after(1, patch)  # would stop a training that is not found
            train_sft(PAIRS, chain, instruction, SFT, again)
            for file in ("adapter/adapter_model.safetensors", "log.csv", CARD):
                assert (first.output / file).read_bytes() == (again.output / file).read_bytes()
            (kept,) = first.finished.glob("*/adapter/adapter_model.safetensors")
            kept.write_bytes(kept.read_bytes()[:-1])
            with pytest.raises(KilledError):
                train_sft(PAIRS, chain, instruction, SFT, again)
        train_sft(PAIRS, chain, instruction, SFT, again)
        assert same(first.output, again.output)

    @pytest.mark.parametrize("damage", ["missing", "truncated", "folder only"])
    def test_a_half_written_checkpoint_is_skipped(self, tmp_path: Path, damage: str) -> None:
        for step, state in ((9, '{"global_step": 9}'), (10, '{"global_st')):
            folder = tmp_path / f"checkpoint-{step}"
            folder.mkdir()
            (folder / "trainer_state.json").write_text(state)
        broken = tmp_path / "checkpoint-10"
        if damage != "truncated":
            (broken / "trainer_state.json").unlink()
        if damage == "missing":
            (broken / "optimizer.pt").write_bytes(b"half")
        assert training._last_complete(tmp_path) == str(tmp_path / "checkpoint-9")
        assert not broken.exists()
        assert training._last_complete(tmp_path / "nothing") is None

    def test_batches_that_cannot_be_split_are_refused(
        self, llama: Path, instruction: Instruction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chain, run = Chain(llama, ()), make_run(tmp_path, "sft")
        with pytest.raises(InputError, match="batch_size 4 is no multiple of micro_batch_size 3 x 1 devices"):
            train_sft(PAIRS, chain, instruction, SFT.model_copy(update={"micro_batch_size": 3}), run)
        with pytest.raises(InputError, match="no examples"):
            train_sft(PAIRS[:0], chain, instruction, SFT, run)
        with pytest.raises(InputError, match=r"completion 'red ball, .*' takes \d+ tokens .*max_length = 20"):
            train_sft(PAIRS, chain, instruction, SFT.model_copy(update={"max_length": 20}), run)
        assert not run.output.exists()


class TestChain:
    def test_merges_every_adapter_in_order(self, boosters: Path, llama: Path) -> None:
        chain = read_chain(llama, boosters / "dpo-1")
        assert chain.adapters == tuple((boosters / name / "adapter").resolve() for name in ("sft", "dpo-1"))
        tokens = torch.arange(5, 60)[None]
        logits = [load_chain(part, "float32")[0](tokens).logits for part in (Chain(llama, ()), chain)]
        # peft adds the deltas of adapters that are active together, and so does merging one after the other.
        stacked: Any = PeftModel.from_pretrained(
            AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32), chain.adapters[0], adapter_name="sft"
        )
        stacked.load_adapter(chain.adapters[1], "dpo-1")
        stacked.base_model.set_adapter(["sft", "dpo-1"])
        torch.testing.assert_close(logits[1], stacked(tokens).logits, atol=1e-5, rtol=1e-4)
        assert (logits[0] - logits[1]).abs().max() > 1e-2
        assert load_chain(chain, "bfloat16")[0].dtype == torch.bfloat16

    def test_without_a_booster_it_is_the_base(self, llama: Path) -> None:
        assert read_chain(llama, None) == Chain(llama, ())

    def test_a_chain_that_returns_to_itself_is_refused(self, llama: Path, tmp_path: Path) -> None:
        for name, previous in (("a", "../b"), ("b", "../a"), ("self", ".")):
            (tmp_path / name).mkdir()
            (tmp_path / name / CARD).write_text(json.dumps({"previous": previous}))
        for name in ("a", "self"):
            with pytest.raises(InputError, match="returns to itself"):
                read_chain(llama, tmp_path / name)

    @pytest.mark.parametrize("card", [None, "{", "[]", "{}", '{"previous": 5}'])
    def test_a_folder_without_a_readable_card_is_no_booster(
        self, llama: Path, tmp_path: Path, card: str | None
    ) -> None:
        if card is not None:
            (tmp_path / CARD).write_text(card)
        with pytest.raises(InputError, match="no card of a booster"):
            read_chain(llama, tmp_path)

    def test_what_cannot_be_loaded_is_named(self, llama: Path, boosters: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="nowhere: its tokenizer cannot be loaded"):
            load_chain(Chain(tmp_path / "nowhere", ()), "float32")
        with pytest.raises(InputError, match=r"gone: .*adapter"):
            load_chain(Chain(llama, (tmp_path / "gone",)), "float32")
        damaged = tmp_path / "damaged"
        shutil.copytree(boosters / "sft" / "adapter", damaged)
        (damaged / "adapter_model.safetensors").write_bytes(b"half")
        with pytest.raises(InputError, match=r"damaged: .*adapter"):
            load_chain(Chain(llama, (damaged,)), "float32")
        shutil.copytree(llama, tmp_path / "mute")
        (tmp_path / "mute" / "chat_template.jinja").unlink()
        with pytest.raises(InputError, match="no chat template"):
            load_chain(Chain(tmp_path / "mute", ()), "float32")


@pytest.fixture(scope="module")
def refiner(llama: Path, boosters: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], BoosterRefiner]:
    path = tmp_path_factory.mktemp("refiner") / "booster.txt"
    path.write_text("Rewrite: $prompt")
    config = BoosterConfig(
        base="tiny",
        instruction=str(path),
        device="cpu",
        threads=1,
        sampling=SamplingSettings(max_new_tokens=8, max_prompt_tokens=64, batch_size=4),
        sft=SFT,
        dpo=DPO,
    )
    return lambda seed: BoosterRefiner(config, llama, boosters / "dpo-1", seed)


class TestBoosterRefiner:
    def test_a_text_depends_on_prompt_id_and_run_seed(self, refiner: Callable[[int], BoosterRefiner]) -> None:
        ids, prompts = ["p1", "p2", "p3"], ["a red ball"] * 3
        texts = refiner(1).refine(ids, prompts)
        assert len(set(texts)) == 3
        assert refiner(1).refine(ids[::-1], prompts) == texts[::-1]
        assert set(refiner(2).refine(ids, prompts)).isdisjoint(texts)

    def test_candidates_differ_from_each_other_and_by_round(self, refiner: Callable[[int], BoosterRefiner]) -> None:
        booster = refiner(1)
        first = booster.candidates(["p1", "p2"], ["a red ball", "a blue ball"], 5, 1)
        assert {key: len(set(texts)) for key, texts in first.items()} == {"p1": 5, "p2": 5}
        assert booster.candidates(["p2"], ["a blue ball"], 3, 1) == {"p2": first["p2"][:3]}
        assert set(booster.candidates(["p1"], ["a red ball"], 5, 2)["p1"]).isdisjoint(first["p1"])
