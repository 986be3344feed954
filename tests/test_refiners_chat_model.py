from pathlib import Path
from typing import Any

import pytest
import torch
from makers import RAW, changed, message
from pydantic import ValidationError

from promptavideo import provenance
from promptavideo.boosters.base import encode
from promptavideo.boosters.chat import Instruction
from promptavideo.boosters.config import SamplingSettings
from promptavideo.boosters.instructions import PublishedInstruction, constant
from promptavideo.boosters.load import Chain, load_chat_tokenizer
from promptavideo.boosters.sampling import Sampler
from promptavideo.config import check
from promptavideo.errors import InputError
from promptavideo.files import sha256
from promptavideo.refiners.chat_model import ChatModel, ChatModelConfig
from promptavideo.seeds import derive
from promptavideo.steps import inputs
from promptavideo.study import Study

ROOT = Path(__file__).parents[1]
SCRIPT = '''import no_such_package

raise SystemExit("it was run")

TASK_PROMPT = """Make it longer, for $5.
You get one text. Original prompt:\\n"""
NUMBER = 3
JOINED = "a" + "b"
TWICE = "one"
TWICE = "two"
NOTED: str = "noted"
'''
PROMPTS = ["a red ball", "a blue boat at night", "two horses"]
IDS = ["p1", "p2", "p3"]


def entry(**given: Any) -> ChatModelConfig:
    sampling = {"max_new_tokens": 12, "max_prompt_tokens": 200, "batch_size": 4}
    return ChatModelConfig.model_validate(
        {"kind": "chat-model", "model": "chat", "device": "cpu", "dtype": "float32", "threads": 1, **given}
        | {"sampling": sampling | given.get("sampling", {})}
    )


def asks(folder: Path, text: str) -> Instruction:
    (folder / "asks.txt").write_text(text)
    return Instruction(folder / "asks.txt", exact=True)


def refiner(folder: Path, model: Path, text: str = "Rewrite: $prompt", seed: int = 1, **given: Any) -> ChatModel:
    return ChatModel(entry(**given), "theirs", model, asks(folder, text), seed)


def test_a_text_depends_on_its_prompt_id_and_the_runs_seed_alone(tmp_path: Path, outspoken: Path) -> None:
    texts = refiner(tmp_path, outspoken).refine(IDS, PROMPTS)
    assert len({*texts}) == 3 and not {*texts} & {*PROMPTS}
    assert refiner(tmp_path, outspoken).refine(IDS[::-1], PROMPTS[::-1]) == texts[::-1]
    for place in range(3):
        assert refiner(tmp_path, outspoken).refine([IDS[place]], [PROMPTS[place]]) == [texts[place]]
    assert refiner(tmp_path, outspoken, threads=2).refine(IDS, PROMPTS) == texts
    assert {*refiner(tmp_path, outspoken, seed=2).refine(IDS, PROMPTS)}.isdisjoint(texts)


def test_it_draws_by_the_sampler_of_boosters(tmp_path: Path, outspoken: Path) -> None:
    config = entry()
    sampler = Sampler(Chain(outspoken, ()), asks(tmp_path, "Rewrite: $prompt"), config)
    drawn = sampler.rewrite(PROMPTS, [derive(1, "refine", one) for one in IDS], "draw")
    assert refiner(tmp_path, outspoken).refine(IDS, PROMPTS) == drawn


def test_what_it_computed_on_is_recorded(tmp_path: Path, outspoken: Path) -> None:
    loaded = refiner(tmp_path, outspoken)
    loaded.refine(IDS, PROMPTS)
    said = loaded.circumstances()
    assert said["engine"].startswith("transformers ") and said["dtype"] == "float32" and "device" in said


def test_messages_name_the_entry(tmp_path: Path, outspoken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = refiner(tmp_path, outspoken, sampling={"max_prompt_tokens": 8})
    with pytest.raises(InputError, match=r"more than refiners\.theirs\.sampling\.max_prompt_tokens = 8"):
        short.refine(IDS, PROMPTS)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"refiners\.theirs\.device"):
        refiner(tmp_path, outspoken, device="cuda")
    with pytest.raises(InputError, match=r"refiners\.theirs\.sampling\.engine: vllm is not installed"):
        refiner(tmp_path, outspoken, sampling={"engine": "vllm"})


class TestPublished:
    def published(self, folder: Path, **given: Any) -> PublishedInstruction:
        (folder / "script.py").write_text(SCRIPT)
        return PublishedInstruction.model_validate(
            {"url": (folder / "script.py").as_uri(), "sha256": sha256(folder / "script.py"), "constant": "TASK_PROMPT"}
            | given
        )

    def test_the_constant_is_asked_to_the_letter_and_the_file_never_runs(self, tmp_path: Path, outspoken: Path) -> None:
        template = self.published(tmp_path, then="$prompt\nNew prompt:\n").read("refiners.theirs.instruction")
        (turn,) = asks(tmp_path, template).ask("a $1 ball")
        said = "Make it longer, for $5.\nYou get one text. Original prompt:\na $1 ball\nNew prompt:\n"
        assert turn == {"role": "user", "content": said}
        tokenizer = load_chat_tokenizer(outspoken)
        tokens = encode(tokenizer, [turn], answering=True)
        assert tokenizer.decode(tokens) == f"<|im_start|>user\n{said}<|im_end|>\n<|im_start|>assistant\n"

    def test_another_digest_is_an_error_with_both(self, tmp_path: Path) -> None:
        published = self.published(tmp_path)
        (tmp_path / "script.py").write_text(SCRIPT.replace("longer", "shorter"))
        with pytest.raises(InputError, match=r"^refiners\.theirs\.instruction\.sha256: ") as caught:
            published.read("refiners.theirs.instruction")
        assert published.sha256 in str(caught.value) and sha256(tmp_path / "script.py") in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("TASK", "has no TASK; its texts are TASK_PROMPT, TWICE, NOTED"),
            ("NUMBER", "NUMBER is no single text"),
            ("JOINED", "JOINED is no single text"),
            ("TWICE", "TWICE is no single text"),
        ],
    )
    def test_what_is_no_text_is_refused(self, tmp_path: Path, name: str, words: str) -> None:
        with pytest.raises(InputError, match=rf"refiners\.theirs\.instruction\.constant: file://.*{words}"):
            self.published(tmp_path, constant=name).read("refiners.theirs.instruction")

    def test_an_annotated_constant_is_one_too(self) -> None:
        assert constant(SCRIPT.encode(), "NOTED", "key: file") == "noted"

    @pytest.mark.parametrize("source", [b"TASK_PROMPT = (", b"\x00", b"\xff\xfe = 1", b"(" * 10_000])
    def test_what_is_no_python_is_refused(self, source: bytes) -> None:
        with pytest.raises(InputError, match="key: file is no Python file"):
            constant(source, "TASK_PROMPT", "key: file")

    @pytest.mark.parametrize(
        "given",
        [
            {"sha256": "unpinned"},
            {"sha256": None},
            {"constant": "os.system"},
            {"constant": ""},
            {"then": "New prompt:"},
            {"then": "$prompt and $other"},
            {"url": "script.py"},
        ],
    )
    def test_the_section_refuses_what_it_cannot_mean(self, tmp_path: Path, given: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            self.published(tmp_path, **given)


CHAT = {"kind": "chat-model", "model": "smollm2-135m"}


def test_the_configuration_names_its_model_and_a_template_with_the_prompt(tmp_path: Path) -> None:
    assert "refiners.theirs.model: there is no 'llama'" in message(
        changed("refiners/theirs", CHAT | {"model": "llama"})
    )
    said = message(changed("refiners/theirs", CHAT | {"instruction": "templates/none.txt"}))
    assert "refiners.theirs.instruction: " in said and "cannot be read" in said
    said = message(changed("refiners/theirs", CHAT | {"instruction": "templates/evolution.txt"}))
    assert "must hold $prompt and no other placeholder" in said
    published = {"url": "https://example.org/a.py", "sha256": "0" * 64}
    assert "refiners.theirs.instruction.constant: is missing" in message(
        changed("refiners/theirs", CHAT | {"instruction": published})
    )


def test_a_published_instruction_is_read_by_a_step_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = TestPublished().published(tmp_path, then="$prompt\nNew:\n")
    raw = changed("refiners/theirs", CHAT | {"instruction": published.model_dump(), "released": True})
    study = Study(check(raw, ROOT), ROOT)
    assert study.instruction("theirs") == "resources/instructions/theirs.txt"
    assert study.instruction("llm") is None
    monkeypatch.chdir(tmp_path)
    inputs.read_instruction(study, "theirs")
    assert (
        Instruction(tmp_path / "resources/instructions/theirs.txt", exact=True)
        .ask("x")[0]["content"]
        .endswith("Original prompt:\nx\nNew:\n")
    )
    with pytest.raises(InputError, match=r"refiners\.llm: its instruction is in no published file"):
        inputs.read_instruction(study, "llm")


def test_the_record_of_its_texts_says_released_with_the_instructions_digest() -> None:
    published = {"url": "https://example.org/a.py", "sha256": "0" * 64, "constant": "TASK_PROMPT"}
    raw = changed("refiners/theirs", CHAT | {"instruction": published, "released": True})
    study = Study(check(raw, ROOT), ROOT)
    said = provenance.texts(study, study.batch("mini-t2v", "evaluation/heldout/theirs"))["refiner"]
    assert said["released"] is True and said["instruction"]["sha256"] == "0" * 64
    assert said["sampling"]["top_k"] == SamplingSettings().top_k and "device" not in said
    assert "theirs" not in RAW["refiners"]
