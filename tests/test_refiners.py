import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from makers import changed

from promptavideo.config import check
from promptavideo.errors import InputError
from promptavideo.operators.base import Key, Operator, Request
from promptavideo.refiners.base import Refiner, Tally, evaluation_table
from promptavideo.refiners.llm import LlmRefiner, LlmRefinerConfig
from promptavideo.refiners.original import Original
from promptavideo.schemas import PROMPTS, write_table
from promptavideo.seeds import video_seed
from promptavideo.shots import prompts_table
from promptavideo.study import Study

ROOT = Path(__file__).parent.parent
PROMPT_SET = pd.DataFrame({"prompt_id": ["p2", "p1"], "prompt": ["a $dollar {box}", "a red ball"]}, dtype="str")


class Echo(Refiner):
    """Puts the id before the prompt."""

    def refine(self, prompt_ids: Sequence[str], prompts: Sequence[str]) -> list[str]:
        return [f"{prompt_id}: {prompt}" for prompt_id, prompt in zip(prompt_ids, prompts, strict=True)]


class Script(Operator):
    """Gives prepared answers and remembers what it was asked."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Key]] = []

    def answer(self, request: Request) -> str:
        self.asked.append((request.instruction, request.key))
        return self.answers[len(self.asked) - 1]


def llm(operator: Operator, template: Path) -> LlmRefiner:
    return LlmRefiner(LlmRefinerConfig(kind="llm", operator="script", template=str(template)), operator, run_seed=7)


def test_an_evaluation_films_every_refined_text_with_paired_seeds(tmp_path: Path) -> None:
    table = evaluation_table(PROMPT_SET, Echo(), replicates=2, run_seed=7)
    write_table(table, tmp_path / "prompts.parquet", PROMPTS)
    assert table["prompt_id"].tolist() == ["p1", "p1", "p2", "p2"]
    assert table["refined"].tolist() == ["p1: a red ball"] * 2 + ["p2: a $dollar {box}"] * 2
    assert table["replicate"].tolist() == [0, 1, 0, 1] and set(table["candidate"]) == {0}
    assert table["seed"].nunique() == 4
    original = evaluation_table(PROMPT_SET.iloc[::-1], Original(), 2, 7)
    assert original["seed"].tolist() == table["seed"].tolist()
    assert original["refined"].tolist() == original["prompt"].tolist()
    assert evaluation_table(PROMPT_SET, Echo(), 2, run_seed=8)["seed"].tolist() != table["seed"].tolist()


def test_a_refiner_that_loses_a_prompt_is_an_error() -> None:
    class Short(Refiner):
        def refine(self, prompt_ids: Sequence[str], prompts: Sequence[str]) -> list[str]:
            return ["one"]

    with pytest.raises(ValueError, match="shorter"):
        evaluation_table(PROMPT_SET, Short(), 1, 1)


def test_candidates_are_numbered_and_share_their_prompts_seed(tmp_path: Path) -> None:
    prompts = dict(zip(PROMPT_SET["prompt_id"], PROMPT_SET["prompt"], strict=True))
    table = prompts_table(prompts, {"p2": ["three"], "p1": ["one", "two"]}, run_seed=7)
    write_table(table, tmp_path / "prompts.parquet", PROMPTS)
    rows = list(table[["prompt_id", "prompt", "candidate", "refined"]].itertuples(index=False, name=None))
    assert rows == [
        ("p1", "a red ball", 0, "one"),
        ("p1", "a red ball", 1, "two"),
        ("p2", "a $dollar {box}", 0, "three"),
    ]
    assert table["seed"].tolist() == [video_seed(7, "p1", 0)] * 2 + [video_seed(7, "p2", 0)]


def test_an_llm_refiner_asks_once_a_prompt_and_without_scores(tmp_path: Path) -> None:
    template = tmp_path / "refine.txt"
    template.write_text("Refine this: $prompt")
    operator = Script(
        "Sure! <PROMPT>A vivid red ball rolls.</PROMPT>", "<PROMPT>A sharp box.</PROMPT><PROMPT>x</PROMPT>"
    )
    refiner = llm(operator, template)
    texts = refiner.refine(["p1", "p2"], ["a red ball", "a $dollar {box}"])
    assert texts[0] == "A vivid red ball rolls."
    assert operator.asked == [
        ("Refine this: a red ball", ("refine", 7, "p1")),
        ("Refine this: a $dollar {box}", ("refine", 7, "p2")),
    ]


@pytest.mark.parametrize("answer", ["", "I cannot help with that.", "<PROMPT></PROMPT>", "<PROMPT>" + "x " * 9000])
def test_an_unusable_answer_leaves_the_prompt_as_it_is(
    tmp_path: Path, answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    template = tmp_path / "refine.txt"
    template.write_text("$prompt")
    with caplog.at_level(logging.WARNING):
        refiner = llm(Script(answer, "A blue box turns."), template)
        texts = refiner.refine(["p1", "p2"], ["a red ball", "a box"])
    assert texts == ["a red ball", "A blue box turns."]
    assert "refine: 1 of 2 answers are not usable" in caplog.text
    found = refiner.circumstances()
    assert found["fallbacks"] == sum(found["dropped"].values()) == 1 and "cut" not in found


def test_a_refiner_without_any_usable_answer_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "refine.txt").write_text("$prompt")
    refiner = llm(Script("", "I'm sorry, I can't help with that."), tmp_path / "refine.txt")
    with pytest.raises(InputError, match=r"none of 2 answers is usable \(no <PROMPT> tags: 1, a refusal: 1\)"):
        refiner.refine(["p1", "p2"], ["a red ball", "a box"])


def test_a_models_answers_are_read_counted_and_bounded() -> None:
    tally = Tally()
    answers = ["<think>hm</think> A red ball.", "", "One two. Three four five.", "I'm sorry, I can't assist with that."]
    assert [tally.read(answer, "p", 3) for answer in answers] == ["A red ball.", "p", "One two.", "p"]
    tally.close("draw")
    assert tally.record() == {"fallbacks": 2, "cut": 1, "dropped": {"a refusal": 1, "empty": 1}}


def test_a_template_without_the_prompt_is_refused(tmp_path: Path) -> None:
    template = tmp_path / "refine.txt"
    template.write_text("Write something nice.")
    with pytest.raises(InputError, match=r"refine.txt: the placeholder \$prompt is missing"):
        llm(Script(), template)


def test_the_offline_operator_refines_each_prompt_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config = LlmRefinerConfig(kind="llm", operator="recombine")
    study = Study(check(changed("seed", 7), ROOT), ROOT)
    refiner = config.load("llm", "mini-t2v", study)
    ids, prompts = ["p1", "p2", "p3"], ["a red ball moving up", "a blue box falling", "a green cone drifting left"]
    together = refiner.refine(ids, prompts)
    assert together == [refiner.refine([one], [text])[0] for one, text in zip(ids, prompts, strict=True)]
    assert all(text != prompt for text, prompt in zip(together, prompts, strict=True))
    assert config.load("llm", "mini-t2v", study).refine(ids, prompts) == together
