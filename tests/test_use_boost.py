"""Rewriting prompts from the command line: the run's own texts, whatever asks for them and how."""

import json
import logging
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from makers import ROOT, booster_config
from use_boosters import INSTRUCTION, LIMIT, finished_run, make_booster, words_reader

from promptavideo.boosters.chat import Instruction
from promptavideo.boosters.config import SamplingSettings
from promptavideo.boosters.load import CARD, Chain
from promptavideo.boosters.sampling import Sampler
from promptavideo.models import check_model
from promptavideo.prompts import prompt_id
from promptavideo.reading import write_reader
from promptavideo.refiners.base import evaluation_table
from promptavideo.shots import Refined
from promptavideo.study import Study
from promptavideo.use import record, source, workspace
from promptavideo.use.boost import Boost
from promptavideo.use.main import main

PROMPTS = ["a red ball moves left", "a blue box falls", "costs $5 {x} 🎉"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("use") / "run")


@pytest.fixture(scope="module")
def tables(run: Path) -> dict[str, str]:
    """The texts that the workflow's step writes for its tables, by prompt."""
    ids = {prompt_id(one): one for one in PROMPTS}
    prompt_set = pd.DataFrame({"prompt_id": [*ids], "prompt": [*ids.values()]}, dtype="str")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(run)
        study = workspace.study_in(Path())
        refiner = study.config.refiners["dpo-2"].load("dpo-2", "mini-t2v", study)
        table = evaluation_table(prompt_set, refiner, 1, study.config.seed)
    return dict(zip(table["prompt"], table["refined"], strict=True))


def test_without_any_option_the_last_booster_gives_the_text_of_the_tables_alone(
    run: Path, tables: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run)
    assert main(["boost", PROMPTS[0]]) == 0
    said = capfd.readouterr()
    assert said.out == tables[PROMPTS[0]] + "\n" != PROMPTS[0] + "\n"
    assert "boost with mini-t2v/dpo-2: 1/1" in said.err


def test_a_prompts_text_does_not_depend_on_how_it_is_asked_for(
    run: Path,
    tables: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    expected = [tables[one] for one in PROMPTS]
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS), encoding="utf-8")
    folder = run / "results/mini-t2v/boosters/dpo-2"
    monkeypatch.chdir(tmp_path)
    assert main(["boost", "--file", "prompts.txt", "--booster", str(folder), "--quiet"]) == 0
    said = capfd.readouterr()
    assert said.out.splitlines() == expected and "boost with" not in said.err
    assert main(["boost", "--file", "prompts.txt", "--booster", str(folder / "adapter"), "-n", "3", "--json"]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [row["variants"][0]["text"] for row in rows] == expected
    assert [len({one["text"] for one in row["variants"]}) for row in rows] == [3, 3, 3]
    assert [(row["prompt"], row["prompt_id"], row["booster"], row["seed"]) for row in rows] == [
        (one, prompt_id(one), "mini-t2v/dpo-2", 1) for one in PROMPTS
    ]
    assert main(["boost", PROMPTS[1], "--booster", str(folder), "-n", "2", "--seed", "1"]) == 0
    assert capfd.readouterr().out.splitlines() == [one["text"] for one in rows[1]["variants"][:2]]
    assert main(["boost", PROMPTS[1], "--booster", str(folder), "--seed", "2"]) == 0
    assert capfd.readouterr().out.strip() not in [one["text"] for one in rows[1]["variants"]]


def test_prompts_come_by_a_pipe(
    run: Path,
    tables: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(run)
    (tmp_path / "piped").write_text("\r\n".join(PROMPTS[:2]) + "\r\n", encoding="utf-8")
    with (tmp_path / "piped").open(encoding="utf-8") as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert main(["boost", "-"]) == 0
    assert capfd.readouterr().out.splitlines() == [tables[one] for one in PROMPTS[:2]]


def test_texts_are_bounded_by_what_the_boosters_generator_reads_or_another(run: Path) -> None:
    found = source.find(str(run / "results/mini-t2v/boosters/dpo-2"))
    (reader,) = found.readers.values()
    assert reader.limit == LIMIT
    (whole,) = Boost(found, fits=lambda text: True).write(PROMPTS[:1], 8)
    (cut,) = Boost(found, fits=words_reader(3).fits).write(PROMPTS[:1], 8)
    assert (
        max(len(one.text.split()) for one in cut.variants) <= 3 < max(len(one.text.split()) for one in whole.variants)
    )


def test_calls_of_few_rows_are_another_shape_and_need_not_be_another_text(run: Path) -> None:
    found = source.find(str(run / "results/mini-t2v/boosters/sft"))
    fast = Boost(found, rows=2)
    assert fast.sampler.rows_a_call == 2 and Boost(found, rows=99).sampler.rows_a_call == 10
    assert all(one.variants[0].text for one in fast.write(PROMPTS))


def test_rows_that_fill_a_call_do_not_lengthen_it(llama: Path, instruction: Instruction) -> None:
    """A call is over when the rows that were asked for are, and their texts are those of a full call."""
    sampling = SamplingSettings(max_new_tokens=30, max_prompt_tokens=64, batch_size=8)
    sampler = Sampler(Chain(llama, ()), instruction, booster_config(sampling=sampling, dtype="float32"))
    seeds = [7, 8, 9]
    together = sampler.answers(PROMPTS, seeds, "all")
    lengths = []
    own = sampler._model.forward
    sampler._model.forward = lambda *given, **named: (lengths.append(1), own(*given, **named))[1]
    assert [sampler.answers([one], [seed], "one")[0] for one, seed in zip(PROMPTS, seeds, strict=True)] == together
    tokens = [len(sampler.tokenizer(text)["input_ids"]) for text in together]
    assert len(lengths) <= sum(min(30, one + 2) for one in tokens)


def test_an_answer_that_is_no_prompt_is_the_prompt_and_a_warning(
    run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    boost = Boost(source.find(str(run / "results/mini-t2v/boosters/sft")))
    monkeypatch.setattr(
        boost.sampler, "answers", lambda prompts, *_: ["I'm sorry, I can't assist with that."] * len(prompts)
    )
    with caplog.at_level(logging.WARNING):
        (found,) = boost.write(PROMPTS[:1])
    assert found.variants[0].text == PROMPTS[0] and found.variants[0].fault == "a refusal"
    assert "is no prompt (a refusal), so the prompt itself stands in" in caplog.text


def test_a_booster_with_a_record_needs_no_run_around_it(run: Path, tables: dict[str, str], tmp_path: Path) -> None:
    """As the booster that comes with a checkout: adapters, the record, and a base model that is fetched."""
    base = run / "resources/models/tiny-llama"
    folder = tmp_path / "shipped"
    for name in ("sft", "dpo-1", "dpo-2"):
        shutil.copytree(run / "results/mini-t2v/boosters" / name, folder if name == "dpo-2" else folder.parent / name)
    found = source.find(str(run / "results/mini-t2v/boosters/dpo-2"))
    entry = {"name": "tiny-llama", "kind": "local", "path": str((run / "tests/tiny-llama").resolve())}
    kept = record.Record(
        name="shipped",
        instruction=found.instruction.template.template,
        sampling=found.settings.sampling,
        seed=1,
        base=entry,
    )
    record.write(kept, found.readers, folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        apart = source.find(str(folder))
    assert apart.chain.base == tmp_path / "cache/promptavideo/models/tiny-llama"
    assert check_model(apart.chain.base).digest == check_model(base).digest
    assert [one.variants[0].text for one in Boost(apart.on("cpu")).write(PROMPTS)] == [tables[one] for one in PROMPTS]


def test_a_checkouts_booster_stands_in_until_one_is_trained(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(source, "SHIPPED", Path("none/there"))
    assert main(["boost", PROMPTS[0]]) == 1
    assert "there is no booster here: train one (make reproduce), or name one by --booster" in capfd.readouterr().err
    folder = make_booster(tmp_path / "resources/booster", run / "resources/models/tiny-llama")
    entry = {"name": "tiny-llama", "kind": "local", "path": str((run / "tests/tiny-llama").resolve())}
    sampling = SamplingSettings(max_new_tokens=8, batch_size=2)
    kept = record.Record(name="shipped", instruction="Go: $prompt", sampling=sampling, seed=1, base=entry)
    record.write(kept, {}, folder)
    monkeypatch.setattr(source, "SHIPPED", Path("resources/booster"))
    assert main(["boost", PROMPTS[0]]) == 0
    assert "boost with shipped" in capfd.readouterr().err


def test_a_generators_own_reader_bounds_texts(
    run: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run)
    assert main(["boost", PROMPTS[0], "--max-tokens-of", "nobody"]) == 1
    assert "there is no generator 'nobody' in the run's configuration; known are mini-t2v" in capfd.readouterr().err
    assert main(["boost", PROMPTS[0], "--max-tokens-of", "mini-t2v", "-n", "2"]) == 0
    assert len(capfd.readouterr().out.splitlines()) == 2


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with boosters of negative prompts."""
    study = yaml.safe_load((ROOT / "studies/negative_prompts.yaml").read_text(encoding="utf-8"))
    asked = {"max_prompt_tokens": 400, "max_new_tokens": 12}
    study["booster"] = {"negative": {"sampling": asked, "descriptors": {"max_words": 50}}}
    study["refiners"]["tuned"]["descriptors"] = {"max_words": 50}
    folder = finished_run(tmp_path_factory.mktemp("negative") / "run", study)
    base = folder / "resources/models/tiny-llama"
    make_booster(folder / "results/shared/boosters/negative-sft", base, seed=4)
    return folder


def test_negative_prompts_are_those_of_the_workflow(
    studied: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(studied)
    assert main(["boost", PROMPTS[0], "--negative", "--json", "-n", "2"]) == 0
    first, second = json.loads(capfd.readouterr().out)["variants"]
    study = workspace.study_in(Path())
    of_sft = study.config.refiners["tuned"].model_copy(update={"booster": "negative-sft"})
    instruction = studied / "negative.txt"
    instruction.write_text(INSTRUCTION)  # of the card of a random booster
    for_negatives = study.config.booster.negative.model_copy(update={"instruction": str(instruction)})
    booster = study.config.booster.model_copy(update={"negative": for_negatives})
    refiner = of_sft.load("tuned", "mini-t2v-teacher", Study(study.config.model_copy(update={"booster": booster})))
    (found,) = refiner.extend([prompt_id(PROMPTS[0])], [PROMPTS[0]], [first["text"]])
    assert isinstance(found, Refined) and found.negative == first["negative"] and second["text"] != first["text"]
    negative = str(studied / "results/shared/boosters/negative-sft")
    monkeypatch.chdir(tmp_path)
    texts = str(studied / "results/mini-t2v/boosters/dpo-2")
    assert main(["boost", PROMPTS[0], "--booster", texts, "--negative-booster", negative]) == 0
    assert capfd.readouterr().out == f"{first['text']}\t{first['negative']}\n"


def test_what_wrote_a_record_reads_it(tmp_path: Path) -> None:
    kept = record.Record(name="x", instruction="Go: $prompt", sampling=SamplingSettings(top_k=3), seed=4)
    record.write(kept, {"one": words_reader(5)}, tmp_path)
    found, (reader,) = record.read(tmp_path)
    assert found == kept and reader.limit == 5
    write_reader(tmp_path / "readers/two.json", None)
    assert len(record.read(tmp_path)[1]) == 1
    assert not (tmp_path / CARD).exists()
