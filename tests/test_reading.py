"""How much of a text a generator reads: cutting, records, and who is bound by them."""

import inspect
import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from makers import RAW
from tokenizers import Tokenizer, models, pre_tokenizers
from workspaces import merged

from promptavideo.answers import fit
from promptavideo.config import check
from promptavideo.decides import Decides
from promptavideo.errors import InputError
from promptavideo.generators.reader import _default
from promptavideo.operators.base import (
    EVOLUTION_PLACEHOLDERS,
    REFINE_PLACEHOLDERS,
    Request,
    TextLimits,
    parse_variants,
    read_template,
    render_instruction,
)
from promptavideo.operators.recombine import RecombineConfig, RecombineOperator
from promptavideo.reading import Reader, advice, read_reader, read_readers, reader_of, within, write_reader
from promptavideo.refiners.base import Tally
from promptavideo.study import Study
from promptavideo.templates import for_medium

ROOT = Path(__file__).parents[1]
IMAGES: dict[str, Any] = {
    "models": {"pictures": {"kind": "local", "path": "elsewhere"}},
    "generators": {
        "still": {
            "kind": "diffusers",
            "pipeline": "PixArtSigmaPipeline",
            "model": "pictures",
            "medium": "image",
            "seconds_per_video": 1.0,
        }
    },
}


def words(limit: int) -> Reader:
    """Reads words and marks as tokens; it would cut and pad if it were used as it is."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=50)
    return reader_of(tokenizer, limit)


# --- cutting ---


@pytest.mark.parametrize(
    ("text", "limit", "cut"),
    [
        ("a red ball", 3, "a red ball"),
        ("  a  red ball ", 3, "a red ball"),
        ("a red ball. Crisp details, well lit.", 9, "a red ball. Crisp details, well lit."[:-1]),
        ("a red ball. Crisp details, well lit, bright.", 8, "a red ball. Crisp details"),
        ("a red ball. Crisp details, well lit, bright.", 5, "a red ball."),
        ("a ball, one two three four five six seven", 8, "a ball, one two three four five"),  # a clause is too little
        ("a ball!", 3, "a ball!"),
        ("\u732b\u304c\u58c1\u306b\u3044\u308b", 1, "\u732b\u304c\u58c1\u306b\u3044\u308b"),  # one word here
    ],
)  # fmt: skip
def test_a_text_is_cut_after_its_last_clause_that_fits(text: str, limit: int, cut: str) -> None:
    found, shorter = fit(text, words(limit).fits)
    assert found == cut and shorter == (found != " ".join(text.split()))


def test_scripts_without_spaces_are_cut_between_characters() -> None:
    assert fit("猫が壁にいる、夜だ", lambda text: len(text) <= 8) == ("猫が壁にいる", True)
    assert fit("猫が壁にいる夜だ", lambda text: len(text) <= 5) == ("猫が壁にい", True)


def test_whatever_is_cut_fits_and_begins_the_text() -> None:
    rng = random.Random(0)
    for _ in range(300):
        text = "".join(rng.choice(["cat ", "dog, ", "sun. ", "a; ", "long ", "\u732b", "x"]) for _ in range(40)).strip()
        limit = rng.randint(1, 30)
        found, shorter = fit(text, words(limit).fits)
        assert text.startswith(found) and found
        assert words(limit).fits(found) or not shorter
    assert fit("unreadable", lambda text: False) == ("unreadable", False), "nothing to keep"


def test_answers_of_boosters_and_variants_of_operators_are_cut() -> None:
    tally = Tally()
    assert tally.read("one two, three four, five six", "p", 99, words(6).fits) == "one two, three four"
    assert tally.read("one two", "p", 99, words(6).fits) == "one two" and tally.cut == 1
    assert tally.read("One two. Three four five six.", "p", 4, words(2).fits) == "One two" and tally.cut == 2
    said = "<PROMPT>one two, three four, five six</PROMPT><PROMPT>one two, three four.</PROMPT>"
    parsed = parse_variants(said, 2, TextLimits(), fits=words(5).fits)
    assert parsed.variants == ("one two, three four",) and parsed.dropped == ("repeated",)


def test_the_offline_operator_proposes_no_more_than_is_read() -> None:
    operator = RecombineOperator(RecombineConfig(kind="recombine"))
    for number in range(40):
        request = Request("", ("g", 1, "p", number), "a red ball", variants=3, fits=words(12).fits)
        free = operator.answer(Request("", ("g", 1, "p", number), "a red ball", variants=3))
        bound = parse_variants(operator.answer(request), 3, TextLimits()).variants
        assert all(words(12).fits(text) for text in bound) and bound
        assert any(not words(12).fits(text) for text in parse_variants(free, 3, TextLimits()).variants)


# --- records ---


def test_a_record_counts_as_its_reader_does(tmp_path: Path) -> None:
    write_reader(tmp_path / "a.json", words(3))
    again = read_reader(tmp_path / "a.json")
    assert again and again.limit == 3 and again.count("a b c, d") == 5 and not again.fits("a b c d")
    write_reader(tmp_path / "b.json", None)
    assert read_reader(tmp_path / "b.json") is None
    both = read_readers([str(tmp_path / "a.json"), str(tmp_path / "b.json")])
    assert [one.limit for one in both] == [3] and within([])("x " * 999) and not within(both)("a b c d")


@pytest.mark.parametrize("text", ["", "[]", '{"limit": 3, "tokenizer": {}}', '{"tokenizer": null}'])
def test_a_broken_record_is_removed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"is no record of what a generator reads .*It was removed"):
        read_reader(path)
    with pytest.raises(InputError, match="does not exist; make it: snakemake"):
        read_reader(path)


# --- what operators are told ---


def test_the_operator_is_told_what_is_read_and_nothing_where_that_is_not_known() -> None:
    template = read_template(ROOT / "templates/evolution.txt", EVOLUTION_PLACEHOLDERS)
    bound = render_instruction(template, "a cat", limit=advice([words(226), words(77)]))
    assert "\n- Stay below 53 words each: the generator reads 77 tokens of a prompt and no more.\n- Make" in bound
    free = render_instruction(template, "a cat", limit=advice([]))
    assert "at most six sentences each.\n- Make" in free and "Stay below" not in free


def test_the_limit_is_for_the_evolution_alone(tmp_path: Path) -> None:
    (tmp_path / "refine.txt").write_text("$prompt $limit")
    with pytest.raises(InputError, match=r"\$limit is only for the evolution"):
        read_template(tmp_path / "refine.txt", REFINE_PLACEHOLDERS)


# --- who is bound ---


def study(*layers: dict[str, Any]) -> Study:
    return Study(check(merged(RAW, IMAGES, *layers), ROOT), ROOT)


def test_a_booster_is_bound_by_the_generators_that_it_learned_from() -> None:
    other = {"refiners": {"video-sft": {"kind": "booster", "booster": "mini-t2v/sft"}}}
    found = study(other)
    writer = found.writer("still", "video-sft")
    assert writer and found.readers(writer.tracks) == ["results/mini-t2v/reader.json"]
    own = found.writer("still", "sft")
    assert own and found.readers(own.tracks) == ["results/still/reader.json"]


def test_without_a_bound_there_is_no_record_and_its_texts_are_made_anew() -> None:
    bound, free = study(), study({"generators": {"still": {"text_tokens": None}}})
    assert bound.readers(["still", "mini-t2v"]) == ["results/still/reader.json", "results/mini-t2v/reader.json"]
    assert free.readers(["still", "mini-t2v"]) == ["results/mini-t2v/reader.json"]
    jobs = (
        ("propose", {"track": "still", "batch": "evolution/round-1"}),
        ("candidates", {"track": "still", "batch": "dpo-1"}),
        ("refine", {"track": "still", "batch": "evaluation/heldout/sft"}),
    )
    for rule, place in jobs:
        assert Decides(bound).digest(rule, **place) != Decides(free).digest(rule, **place), rule
        video = place | {"track": "mini-t2v"}
        assert Decides(bound).digest(rule, **video) == Decides(free).digest(rule, **video), rule
    limits = [Decides(study({"generators": {"still": {"text_tokens": one}}})).reader("still") for one in (20, 30)]
    assert limits[0] != limits[1]
    entry = bound.config.generators["still"]
    assert "text_tokens" not in entry.settings(), "no part of an image's key"


@pytest.mark.parametrize("wrong", ["all", 0.5, True])
def test_the_bound_is_a_number_of_tokens(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"generators\.still\.text_tokens"):
        study({"generators": {"still": {"text_tokens": wrong}}})


def test_what_pipelines_read_by_default_is_read_as_their_code_says() -> None:
    diffusers = pytest.importorskip("diffusers")
    ready = yaml.safe_load((ROOT / "resources/generators.yaml").read_text())["generators"]
    pipelines = {entry["pipeline"] for entry in ready.values() if "pipeline" in entry} | {"LattePipeline"}
    for name in sorted(pipelines):
        kind, limit = getattr(diffusers, name), None
        for function in ("__call__", "encode_prompt"):
            parameter = inspect.signature(getattr(kind, function, print)).parameters.get("max_sequence_length")
            limit = limit or (parameter and parameter.default)
        assert _default(name) == limit, name


# --- instructions by medium ---


def test_images_have_instructions_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    assert for_medium("a.txt", "image", tmp_path) == "a.txt", "there is no other"
    (tmp_path / "a_images.txt").touch()
    assert for_medium("a.txt", "image", tmp_path) == "a_images.txt"
    assert for_medium("a.txt", "video", tmp_path) == "a.txt"


@pytest.mark.parametrize("path", sorted((ROOT / "templates").glob("*_images.*")), ids=lambda path: path.name)
def test_instructions_for_images_speak_of_images(path: Path) -> None:
    text = path.read_text().lower()
    assert "image" in text
    assert not [word for word in ("video", "camera", "film", "footage", "motion", "moving") if word in text]


def test_each_track_has_the_instruction_of_its_medium() -> None:
    shared = {"boosters": {"both": {"trainer": "sft", "tracks": ["mini-t2v", "still"]}}}
    one = {"objective": ["AES", "MPS"], "judges": {"pixels": {"metrics": ["AES", "MPS"]}}}
    found = study({"evaluation": {"average": ["AES", "MPS"]}}, one, shared)
    assert [found.template(track) for track in found.tracks] == [
        "templates/evolution.txt", "templates/evolution_images.txt"
    ]  # fmt: skip
    instructions = [found.settings_of(found.booster(name, "")).instruction for name in ("mini-t2v/sft", "still/sft")]
    assert instructions == ["templates/booster.txt", "templates/booster_images.txt"]
    assert found.settings_of(found.booster("both", "still")).instruction == "templates/booster.txt"
    assert found.read_by("llm", "still") == ["templates/refine_images.txt"]
    assert found.read_by("llm", "mini-t2v") == ["templates/refine.txt"]


def test_an_instruction_of_images_is_checked_where_images_are_made(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("Now: $prompt")
    (tmp_path / "mine_images.txt").write_text("no placeholder")
    raw = merged(RAW, {"booster": {"instruction": str(tmp_path / "mine.txt")}})
    check(raw, ROOT)
    with pytest.raises(InputError, match=r"mine_images\.txt: the instruction must hold \$prompt"):
        check(merged(raw, IMAGES), ROOT)


def test_a_record_is_json_that_names_its_limit(tmp_path: Path) -> None:
    write_reader(tmp_path / "a.json", words(3))
    assert json.loads((tmp_path / "a.json").read_text())["limit"] == 3
