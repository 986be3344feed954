"""Negative prompts: what is read of answers, what is dropped and counted, and who is refused."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest
import yaml
from makers import FAST, RAW, ROOT, make_scores

from promptavideo import metrics
from promptavideo.comparisons import comparisons
from promptavideo.config import check
from promptavideo.errors import InputError
from promptavideo.miniature.world import QUALITY_WORDS
from promptavideo.negative_table import NONE, NegativeArm, negative_table, notes, shown, with_paper_rows
from promptavideo.negatives import (
    DescriptorLimits,
    Negatives,
    NegativesConfig,
    Subject,
    Written,
    ask,
    pairs_of,
    read_fixed,
)
from promptavideo.operators.base import Example, Operator, Request, TextLimits
from promptavideo.operators.recombine import RecombineConfig
from promptavideo.preference import PreferenceConfig, make_triples
from promptavideo.provenance import remarks, written
from promptavideo.refiners.base import evaluation_table
from promptavideo.refiners.negative import Fixed, Learned, NegativeRefiner, draw
from promptavideo.schemas import PAIRS, PROMPT_SET, VBENCH_SCORES
from promptavideo.settings import lay
from promptavideo.shots import Refined, prompts_table
from promptavideo.steps.learning import negatives_as_answers
from promptavideo.study import Study
from promptavideo.tables import Arm
from promptavideo.timing import Timing

BALL = Subject("p1", "a red ball rolls over a hill", "A red ball rolls over a hill. Crisp details, steady camera.")
LIMITS = DescriptorLimits()
STUDY: dict[str, Any] = {
    "generators": {"guided": {"like": "mini-t2v", "sampling": {"guidance_scale": 4.0}}},
    "refiners": {
        "boosted": {"kind": "booster", "booster": "mini-t2v/dpo-2"},
        "fixed": {"kind": "negative", "of": "boosted", "text": "templates/negative_fixed.txt"},
    },
    "evaluation": {"refiners_of": {"guided": ["original", "boosted", "fixed"]}},
}


LEARNS = {"tuned-sft": {"trainer": "sft", "data": "negatives"}}
PAIRED = {"negatives": {"operator": "recombine"}}


def configured(*overlays: dict[str, Any]) -> Study:
    raw, _ = lay({"config.yaml": RAW, "study": STUDY, **{str(place): one for place, one in enumerate(overlays)}})
    return Study(check(raw, ROOT), ROOT)


class Says(Operator):
    """Gives one answer to all, and keeps what it was asked."""

    def __init__(self, answer: str) -> None:
        self.said, self.asked = answer, list[Request]()

    def answer(self, request: Request) -> str:
        self.asked.append(request)
        return self.said


@pytest.mark.parametrize(
    ("answer", "negative", "dropped"),
    [
        ("blurry, shaky camera", "blurry, shaky camera", {}),
        ("Negative prompt: blurry; faded.", "blurry, faded", {}),
        ("- blurry\n- dark, murky\n", "blurry, dark, murky", {}),
        ("<think>a red ball?</think>blurry", "blurry", {}),
        ("blurry, Blurry , BLURRY.", "blurry", {"repeated": 2}),
        ("red tint, blurry, two balls, hills", "blurry", {"with a word of the prompt": 3}),
        ("blurry, the picture is much too dark here", "blurry", {"a sentence": 1}),
        ("blurry, it shakes. It flickers", "blurry", {"a sentence": 1}),
        ("no noise, without grain, noise", "noise", {"a negation": 2}),
        ("", None, {}),
        ("...", None, {"empty": 1}),
        ("I'm sorry, I can't help with that request.", None, {"a refusal": 1}),
        ("{blurry}", None, {"a placeholder": 1}),
        ("a red ball", None, {"with a word of the prompt": 1}),
    ],
)
def test_an_answer_is_read_as_descriptors_and_what_is_dropped_is_counted(
    answer: str, negative: str | None, dropped: dict[str, int]
) -> None:
    negatives = Negatives(LIMITS)
    assert negatives.read(Written(answer), BALL) == negative
    assert negatives.record() == {"texts": 1, "without": int(negative is None), "dropped": dropped}


def test_descriptors_are_bounded_in_number_and_length() -> None:
    negatives = Negatives(DescriptorLimits(max_descriptors=2, max_words=2))
    assert negatives.read(Written("one, two, three, so many words"), BALL) == "one, two"
    assert negatives.dropped == {"more than 2": 1, "a sentence": 1}
    assert negatives.read(Written("x" * 100_000), BALL) == "x" * 20_000, "what an answer holds is not read without end"


def test_a_negative_equal_to_its_prompt_is_dropped() -> None:
    negatives = Negatives(LIMITS)
    dim = Subject("p1", "", "Blurry, dark.")
    assert negatives.read(Written("blurry, dark"), dim) is None
    assert negatives.record() == {"texts": 1, "without": 1, "dropped": {"equal to its prompt": 1}}
    assert negatives.report() == "1 of 1 texts have no negative prompt; not taken: equal to its prompt: 1"


def test_a_file_holds_descriptors_alone(tmp_path: Path) -> None:
    path = tmp_path / "fixed.txt"
    path.write_text("blurry,\n flickering light\n")
    assert read_fixed(path, LIMITS) == "blurry, flickering light"
    for text, fault in (("", "empty"), ("This must not be blurry at all.", "a sentence"), ("no noise", "a negation")):
        path.write_text(text)
        with pytest.raises(InputError, match=rf"fixed.txt: must hold descriptors .* found: {fault}"):
            read_fixed(path, LIMITS)


def test_the_projects_own_files_are_usable() -> None:
    fixed = read_fixed(ROOT / "templates/negative_fixed.txt", LIMITS)
    assert "flickering light" in fixed and fixed.count(",") >= 8


def test_an_operator_is_asked_with_the_text_and_examples() -> None:
    operator = Says("Sure: <PROMPT>blurry, faded</PROMPT>")
    examples = [Example("a $cat", "dark")]
    found = ask(operator, "$examples\nNow: $prompt", [BALL], examples, TextLimits(), 1, ("negative", 7))
    assert found == [Written("blurry, faded", ())]
    (asked,) = operator.asked
    assert asked.instruction == f"Prompt: a $cat\n<PROMPT>dark</PROMPT>\nNow: {BALL.text}"
    assert asked.key == ("negative", 7, "p1") and asked.wants == "negative" and asked.prompt == BALL.text
    (echo,) = ask(Says(f"<PROMPT>{BALL.text}</PROMPT>"), "$prompt", [BALL], [], TextLimits(), 1, ())
    assert echo == Written("", ("equal to the original",))


def test_the_offline_operator_names_opposites_and_faults() -> None:
    operator = RecombineConfig(kind="recombine").load("recombine", None)
    request = Request("", ("k", 1), BALL.text, wants="negative")
    (found,) = {operator.answer(request) for _ in range(2)}
    parts = found.removeprefix("<PROMPT>").removesuffix("</PROMPT>").split(", ")
    of = [next(name for name, (_, bad) in QUALITY_WORDS.items() if part in bad) for part in parts]
    assert of[:2] == ["focus", "camera"], "what the text says well"
    assert len(of) == 4 == len(set(of))
    wanted = Request("", ("k", 1), "a ball. Blurry, dim lighting.", wants="negative")
    assert not {"focus", "exposure"} & {
        name for name, (_, bad) in QUALITY_WORDS.items() if any(word in operator.answer(wanted) for word in bad)
    }, "what the text wants though others count it as a fault"
    shown = [Example("x", "pulsing light, faded")]
    guided = Request("", ("k", 1), "a ball. Crisp details.", wants="negative", examples=shown)
    _, *faults = operator.answer(guided).removeprefix("<PROMPT>").removesuffix("</PROMPT>").split(", ")
    assert sorted(faults) == ["faded", "pulsing light"]


def test_texts_stay_and_get_negative_prompts(caplog: pytest.LogCaptureFixture) -> None:
    prompts = {"p1": "a red ball", "p2": "a box"}
    below = prompts_table(prompts, {"p1": ["A red ball, crisp."], "p2": ["blurry"]}, 7, 2)
    prompt_set = PROMPT_SET.validate(pd.DataFrame({"prompt_id": ["p2", "p1"], "prompt": ["a box", "a red ball"]}))
    refiner = NegativeRefiner(Fixed("blurry"), "fixed", LIMITS)
    with caplog.at_level(logging.WARNING):
        table = evaluation_table(prompt_set, refiner, 2, 7, below)
    pd.testing.assert_frame_equal(table.drop(columns="negative"), below.drop(columns="negative"))
    assert table["negative"].fillna("").tolist() == ["blurry"] * 2 + [""] * 2
    said = "1 of 2 texts have no negative prompt; not taken: equal to its prompt: 1"
    assert f"fixed: {said}" in caplog.text
    took = Timing(items=2, circumstances=refiner.circumstances())
    record = written([took])
    assert record["negatives"] == {"texts": 2, "without": 1, "dropped": {"equal to its prompt": 1}}
    row = {"generator": "g", "set": "s", "refiner": "fixed", "scores": {**record, "videos": 4}}
    (note,) = remarks([row])
    assert "1 of 2 texts of fixed for g on s have no negative prompt" in note and "equal to its prompt: 1" in note
    with pytest.raises(InputError, match="1 prompts have no text to go on from, first p2"):
        evaluation_table(prompt_set, refiner, 1, 7, below[below["prompt_id"] == "p1"])


def test_a_refiner_without_any_negative_prompt_is_an_error() -> None:
    with pytest.raises(InputError, match=r"refiners.fixed: none of 1 texts has a negative prompt"):
        NegativeRefiner(Fixed("a box"), "fixed", LIMITS).refine(["p1"], ["a box"])


@pytest.mark.parametrize(
    ("overlay", "told"),
    [
        (
            {"generators": {"guided": {"sampling": {"guidance_scale": 1.0}}}},
            "refiners.fixed: guided is compared by it and takes no negative prompts. A diffusers pipeline takes them",
        ),
        (
            {"evaluation": {"refiners": ["original", "dpo-2", "boosted", "fixed"]}},
            "refiners.fixed: mini-t2v is compared by it and takes no negative prompts",
        ),
        ({"evaluation": {"refiners_of": {"guided": ["original", "fixed"]}}}, "not compared by boosted"),
        ({"refiners": {"fixed": {"of": "nobody"}}}, "there is no 'nobody'"),
        ({"refiners": {"fixed": {"of": "fixed"}}}, "refiners.fixed.of: fixed has texts of another refiner itself"),
        ({"refiners": {"fixed": {"text": "gone.txt"}}}, "gone.txt does not exist"),
        ({"refiners": {"fixed": {"text": "templates/refine.txt"}}}, "must hold descriptors"),
        ({"refiners": {"fixed": {"text": None}}}, "give one of `text`"),
        ({"refiners": {"fixed": {"operator": "recombine"}}}, "give one of `text`"),
        ({"refiners": {"fixed": {"text": None, "operator": "recombine"}}}, "`operator` and `template` go together"),
        (
            {"refiners": {"fixed": {"text": None, "booster": "mini-t2v/dpo-2"}}},
            "refiners.fixed.booster: mini-t2v/dpo-2 writes texts to film, and not negative prompts",
        ),
        (
            {
                "refiners": {"fixed": {"text": None, "booster": "mini-t2v/tuned"}},
                "boosters": {"tuned": {"trainer": "dpo", "data": {"draw": "tuned-sft", "of": "dpo-2"}}, **LEARNS},
                **PAIRED,
            },
            "refiners.fixed.booster: tuned learns from videos of mini-t2v, which takes no negative prompts",
        ),
        ({"refiners": {"fixed": {"examples": "templates/negative_examples.yaml"}}}, "`examples` are for"),
        (
            {
                "refiners": {
                    "fixed": {
                        "text": None,
                        "operator": "recombine",
                        "template": "templates/negative_fewshot.txt",
                        "examples": "templates/refine_examples.yaml",
                    }
                }
            },
            "must have `prompt:` and `negative:`",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_a_run(overlay: dict[str, Any], told: str) -> None:
    configured()
    with pytest.raises(InputError, match=r"refiners\.fixed") as caught:
        configured(overlay)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("boosters", "told"),
    [
        ({"tuned": {"from": "sft", "trainer": "sft", "data": "negatives"}}, "from: sft writes texts to film, and not"),
        ({"tuned": {"trainer": "dpo", "from": "tuned-sft"}}, "from: tuned-sft writes negative prompts, and not"),
        ({"tuned": {"trainer": "dpo", "from": "tuned-sft", "data": {"of": "tuned-sft"}}}, "data.of: tuned-sft writes"),
        (
            {"tuned": {"trainer": "dpo", "from": "tuned-sft", "data": {"of": "dpo-2", "draw": "dpo-1"}}},
            "data.draw: dpo-1 writes texts to film, and not negative prompts",
        ),
        (
            {
                "tuned-sft": {"tracks": ["mini-t2v"]},
                "tuned": {
                    "trainer": "dpo",
                    "from": "tuned-sft",
                    "data": {"of": "mini-t2v/dpo-2"},
                    "tracks": ["mini-t2v"],
                },
            },
            "tracks: mini-t2v takes no negative prompts. A diffusers pipeline takes them",
        ),
    ],
)
def test_boosters_of_texts_and_of_negative_prompts_are_told_apart(boosters: dict[str, Any], told: str) -> None:
    configured({"boosters": LEARNS, **PAIRED})
    with pytest.raises(InputError, match=rf"boosters\.tuned\.{re.escape(told)}"):
        configured({"boosters": LEARNS, **PAIRED}, {"boosters": boosters})


def test_negative_prompts_to_learn_want_their_section() -> None:
    with pytest.raises(InputError, match=r"boosters\.tuned-sft\.data: negatives wants the section `negatives`"):
        configured({"boosters": LEARNS})
    with pytest.raises(InputError, match=r"booster.*negative\.sampling\.top_p"):
        configured({"booster": {"negative": {"sampling": {"top_p": 2.0}}}})


def test_boosters_of_negative_prompts_have_data_and_an_instruction_of_their_own() -> None:
    chain = {**LEARNS, "tuned": {"trainer": "dpo", "from": "tuned-sft", "data": {"of": "mini-t2v/dpo-2"}}}
    refiner = {"refiners": {"fixed": {"text": None, "booster": "tuned"}}}
    study = configured({"boosters": chain, "booster": {"negative": {"sampling": {"top_k": 7}}}, **PAIRED}, refiner)
    tuned = study.booster("tuned", "guided")
    assert tuned.start and tuned.drawing == tuned.start and tuned.texts == study.booster("dpo-2", "mini-t2v")
    assert study.sources(tuned.start) == ["results/guided/negatives.parquet"]
    assert study.sources(study.booster("sft", "guided")) == ["results/guided/pairs.parquet"]
    settings = study.config.booster.writing(tuned.writes)
    assert settings.instruction == "templates/negative_booster.txt"
    assert (settings.sampling.top_k, settings.sampling.batch_size) == (7, study.config.booster.sampling.batch_size)
    assert study.config.booster.writing("text") is study.config.booster


def test_a_track_without_an_evolution_of_its_own_has_none_in_its_figures() -> None:
    raw = yaml.safe_load((ROOT / "studies/negative_prompts.yaml").read_text(encoding="utf-8"))
    study = Study(check(lay({"config.yaml": RAW, "study": raw})[0], ROOT), ROOT)
    assert [one.known_as for one in study.boosters("mini-t2v-teacher")] == ["negative-dpo"]
    assert not study.evolves("mini-t2v-teacher") and study.evolves("mini-t2v")
    assert not any(one.name.startswith("evolution") for one in study.batches("mini-t2v-teacher"))
    assert comparisons(study)["negative_prompts"].asked


def test_pairs_are_of_evolved_texts_and_what_has_none_is_left_out() -> None:
    evolved = PAIRS.validate(
        pd.DataFrame(
            {
                "prompt_id": ["p1", "p2"],
                "prompt": ["a red ball", "a dark box"],
                "refined": ["A red ball, crisp.", "A dark box, sharp."],
                "total": [2.0, 1.0],
            }
        )
    )
    rule = NegativesConfig(operator="says")
    found, negatives = pairs_of(evolved, Says("<PROMPT>dark, red</PROMPT>"), "$prompt", rule, 7)
    PAIRS.validate(found)
    assert found.to_dict("records") == [
        {"prompt_id": "p1", "prompt": "A red ball, crisp.", "refined": "dark", "total": 2.0},
        {"prompt_id": "p2", "prompt": "A dark box, sharp.", "refined": "red", "total": 1.0},
    ]
    assert negatives.record() == {"texts": 2, "without": 0, "dropped": {"with a word of the prompt": 2}}
    found, negatives = pairs_of(evolved, Says("<PROMPT>dark</PROMPT>"), "$prompt", rule, 7)
    assert found["prompt_id"].tolist() == ["p1"] and negatives.without == 1
    with pytest.raises(InputError, match="evolution gives no negative prompt to learn from: 2 of 2 texts have no"):
        pairs_of(evolved, Says("nothing"), "$prompt", rule, 7)


class Answers:
    """Stands for a booster: answers by number of draw."""

    def answers(self, texts: Sequence[str], keys: Sequence[tuple[str | int, ...]]) -> list[str]:
        self.keys = list(keys)
        return [f"blur {place}" if place % 3 else "" for place, _ in enumerate(texts)]


def test_candidates_are_of_one_text_and_triples_choose_among_negative_prompts() -> None:
    booster = Answers()
    subjects = [BALL, Subject("p2", "a box", "A box, vivid.")]
    found, negatives = draw(Learned(cast(Any, booster)), subjects, 3, 1, LIMITS)
    assert found == {
        "p1": [Refined(BALL.text), Refined(BALL.text, "blur 1"), Refined(BALL.text, "blur 2")],
        "p2": [Refined("A box, vivid."), Refined("A box, vivid.", "blur 4"), Refined("A box, vivid.", "blur 5")],
    }
    assert negatives.without == 2 and len(set(booster.keys)) == 6
    table = prompts_table({"p1": BALL.prompt, "p2": "a box"}, found, 7)
    points = {"blur 1": 1.0, "blur 2": 2.0, "blur 4": 4.0, "blur 5": 3.0}
    values = table["negative"].map(points).fillna(0.0)
    names = ("VQ", "TC", "DD", "TVA", "FC", "AES", "MPS")
    scores = table.assign(**{name: values for name in names}, **{f"{name}_5": values for name in names})
    rule = PreferenceConfig(prompts="p", rounds=1)
    triples = make_triples(negatives_as_answers(scores), rule, metrics.PAPER).table
    assert triples[["prompt", "chosen", "rejected"]].to_numpy().tolist() == [
        [BALL.text, "blur 2", "blur 1"], ["A box, vivid.", "blur 4", "blur 5"]
    ]  # fmt: skip


def test_there_is_a_table_where_a_track_is_compared_by_negative_prompts() -> None:
    study = configured()
    rows = comparisons(study)["negative_prompts"].rows("tables")
    assert [(row.track, row.name.rpartition("/")[2]) for row in rows] == [("guided", "boosted"), ("guided", "fixed")]
    files = comparisons(study)["negative_prompts"].files("tables")
    assert "results/guided/evaluation/heldout/fixed/rewards/scores.parquet" in files
    assert "results/mini-t2v/boosters/dpo-2/booster.json" in files
    assert "resources/paper/table10_negative_prompts.csv" in files
    assert "negative_prompts" not in comparisons(Study(check(RAW, ROOT), ROOT))


def scored(values: Sequence[float], negative: str | None = None) -> pd.DataFrame:
    names = ("VQ", "TC", "DD", "TVA", "FC", "AES", "MPS")
    table = make_scores({(f"p{place}", 0): dict.fromkeys(names, value) for place, value in enumerate(values)})
    return table.assign(negative=negative)


def judged(values: Sequence[float], dimension: str = "subject_consistency") -> pd.DataFrame:
    rows = [(dimension, place, f"p{place}", 0, f"k{place}", value, 1) for place, value in enumerate(values)]
    return VBENCH_SCORES.validate(pd.DataFrame(rows, columns=list(VBENCH_SCORES.columns)))


def test_the_table_has_gains_to_the_row_without_negative_prompts_and_the_papers_rows() -> None:
    none = NegativeArm("boosted", NONE, Arm("g", "s", "boosted", scored([1.0, 2.0, 3.0])), judged([0.5, 0.6, 0.7]))
    low = Arm("g", "s", "fixed", scored([1.5, 2.2, 3.1], "dark, very blurry"))
    arms = [none, NegativeArm("boosted", "fixed", low, judged([0.6, 0.8, 0.7])), NegativeArm("dpo-1", NONE, low, None)]
    table = negative_table(arms, FAST)
    assert table[["refiner", "negative"]].to_numpy().tolist() == [
        ["boosted", "none"], ["boosted", "fixed"], ["dpo-1", "none"]
    ]  # fmt: skip
    assert table["gain"].isna().tolist() == [True, False, True]
    assert table.loc[1, "gain"] == pytest.approx((0.5 + 0.2 + 0.1) / 3)
    assert table.loc[1, "gain_ci_low"] < table.loc[1, "gain"] < table.loc[1, "gain_ci_high"]
    assert table["words"].tolist() == [0.0, 3.0, 3.0]
    assert table.loc[1, "subject_consistency"] == pytest.approx(0.7)
    assert table.loc[1, "subject_consistency_gain"] == pytest.approx(0.1)
    assert table["subject_consistency"].isna().tolist() == [False, False, True]
    assert table["motion_smoothness"].isna().all()
    whole = with_paper_rows(table, ROOT / "resources/paper/table10_negative_prompts.csv")
    paper = whole[whole["set"] == "paper"]
    assert paper["negative"].tolist() == ["none", "fixed", "icl", "tuned"] and set(paper["refiner"]) == {"dpo-2"}
    assert paper["dynamic_degree"].tolist() == [0.52, 0.46, 0.50, 0.48] and paper["avg"].isna().all()
    assert "subject_consistency" in shown(whole) and "subject_consistency_gain" not in shown(whole)
    told = notes(arms, "laptop")
    assert any("Empty cells" in line for line in told) and any("not comparable" in line for line in told)


def test_rows_filmed_for_other_prompts_are_not_compared() -> None:
    none = NegativeArm("boosted", NONE, Arm("g", "s", "boosted", scored([1.0, 2.0])), None)
    other = NegativeArm("boosted", "fixed", Arm("g", "s", "fixed", scored([1.0])), None)
    with pytest.raises(InputError, match="lacks 1 videos that g/s/none has"):
        negative_table([none, other], FAST)


def test_refined_texts_without_negatives_are_those_of_the_row_none() -> None:
    found = NegativeRefiner(Fixed("dark"), "fixed", LIMITS).extend(["p1"], ["a"], ["b"])
    assert found == [Refined("b", "dark")]
