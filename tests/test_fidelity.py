import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from promptavideo.errors import InputError
from promptavideo.judges import load_judges
from promptavideo.judges.fidelity import Fidelity, FidelityConfig, words_kept

ROOT = Path(__file__).parents[1]

PROMPT = "Three red balls roll left over a tiled floor"
REFINED = "In bright daylight, three glossy red balls are rolling left over a tiled floor, sharp focus"


def configure(**settings: object) -> FidelityConfig:
    return FidelityConfig(kind="fidelity", model="encoder", **{"batch_size": 4, "max_tokens": 32, **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prompt", "refined", "share"),
    [
        pytest.param(PROMPT, PROMPT, 1, id="same"),
        pytest.param(PROMPT, REFINED, 1, id="more"),
        pytest.param(PROMPT, "left over a tiled floor: balls", 5 / 8, id="part"),
        pytest.param(PROMPT, "red balls on a floor, 3 of them", 4 / 8, id="half"),
        pytest.param(PROMPT, "A chef cooks dinner", 0, id="none"),
        pytest.param(PROMPT, "", 0, id="nothing"),
        pytest.param("a red ball and a blue box", "a blue ball and a red box", 1, id="order"),
        pytest.param("a cat without a hat", "a cat with a hat", 2 / 3, id="negation"),
        pytest.param("he is not running", "He isn't running", 1, id="contraction"),
        pytest.param("three dogs", "3 dogs", 1, id="digit"),
        pytest.param("25 dogs", "twenty-five dogs", 1, id="compound number"),
        pytest.param("1,000 birds, 2.50 m", "one thousand birds, 2.5 m", 1, id="written numbers"),
        pytest.param("5 million stars", "5,000,000 stars", 1, id="multiplier"),
        pytest.param("zero dogs", "0 dogs", 1, id="zero"),
        pytest.param("5 dogs", "25 dogs", 1 / 2, id="another number"),
        pytest.param("two dogs", "two hundred dogs", 1 / 2, id="a hundred times"),
        pytest.param("Zoë in Kraków", "ZOE\u0308 walks, KRAKO\u0301W", 1, id="names"),
        pytest.param("\uff21nna's Straße", "Anna STRASSE", 1, id="compatibility forms"),
        pytest.param("running, lying, flies, making", "runs, lies, flying, makes", 1, id="verbs"),
        pytest.param("men, boxes, horses, leaves, cities", "man, box, horse, leaf, city", 1, id="nouns"),
        pytest.param("stopped moved tied rolled", "stopping moves ties roll", 1, id="past"),
        pytest.param("plane, cars, cube, seed, red", "plan, care, cub, see, r", 0, id="other words"),
        pytest.param("a close-up of a T-shirt", "closeup, tshirt", 1, id="hyphen left out"),
        pytest.param("closeup, well lit", "a close-up, well-lit", 1, id="hyphen put in"),
        pytest.param("a two-year-old dog", "a dog", 1 / 4, id="hyphens lost"),
        pytest.param("三只红色的猫在跑", "3只红猫", 4 / 7, id="Chinese"),
        pytest.param("三只红色的猫在跑", "两条白狗", 0, id="other Chinese"),
        pytest.param("赤い猫", "猫", 1 / 3, id="Japanese"),
        pytest.param("हिन्दी फिल्म", "फिल्म", 1 / 2, id="marks"),
        pytest.param("", "a dog", 1, id="empty"),
        pytest.param("the, of and!", "", 1, id="no content"),
    ],
)
def test_words_kept_is_the_share_of_content_words(prompt: str, refined: str, share: float) -> None:
    assert words_kept(prompt, refined) == pytest.approx(share)


def test_adding_words_never_lowers_the_share() -> None:
    draw = random.Random(0)
    known = [
        "a",
        "red",
        "dogs",
        "ran",
        "well-lit",
        "three",
        "25",
        "Zoë",
        "猫",
        "don't",
        "hundred",
        "closeup",
        "up",
        "the",
    ]
    for _ in range(500):
        prompt, text, more = (" ".join(draw.choices(known, k=draw.randint(0, 6))) for _ in range(3))
        more = more.replace("hundred", "hundreds")  # of a number that is there it would make another one
        assert words_kept(prompt, text) <= words_kept(prompt, f"{text}, {more}"), (prompt, text, more)
        assert words_kept(prompt, f"{more}, {text}") == words_kept(prompt, f"{text}, {more}")


def test_a_long_word_takes_no_quadratic_time_and_a_long_number_is_one() -> None:
    assert words_kept("a" * 100_000 + "ing", "dogs") == 0
    assert words_kept("1" * 1_100_000 + " million dogs", "dogs") == pytest.approx(1 / 3)


@pytest.fixture(scope="module")
def fidelity(encoder: Path) -> Fidelity:
    return Fidelity(configure(), encoder)


def test_sense_is_the_mean_greatest_cosine_of_the_content_words(encoder: Path, fidelity: Fidelity) -> None:
    import torch
    from transformers import BertModel, BertTokenizerFast

    model = BertModel.from_pretrained(encoder).eval()
    tokenizer = BertTokenizerFast.from_pretrained(encoder)

    def states(text: str) -> torch.Tensor:
        with torch.inference_mode():
            found = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, 1:-1]
        return torch.nn.functional.normalize(found, dim=1)

    cosines = states("a red ball")[1:] @ states("blue box a ball").T
    (score,) = fidelity.score(["a red ball"], ["blue box a ball"])
    assert score == {"KEEP": 0.5, "SENSE": pytest.approx(cosines.amax(1).clamp(min=0).mean().item(), abs=1e-5)}


def test_a_kept_text_has_all_the_sense_and_an_empty_one_none(fidelity: Fidelity) -> None:
    prompts, texts = ["a red ball", "a red ball", "the", "a ball", ""], ["A red ball", "", "", "...", "a ball"]
    scores = fidelity.score(prompts, texts)
    assert [score["SENSE"] for score in scores] == pytest.approx([1, 0, 1, 0, 1])
    assert [score["KEEP"] for score in scores] == [1, 0, 1, 0, 1]
    assert fidelity.score([], []) == []


def test_words_that_the_encoder_does_not_know_count_by_word(fidelity: Fidelity) -> None:
    scores = fidelity.score(["三只猫", "a zebra [SEP] <x>"], ["3只", "zebra"])
    assert [score["SENSE"] for score in scores] == pytest.approx([2 / 3, 1 / 2])


def _pairs() -> tuple[list[str], list[str]]:
    draw = random.Random(1)
    words = ["a", "red", "blue", "green", "ball", "box", "zebra", "three"]
    long = " ".join(draw.choices(words, k=150))  # several windows
    texts = [" ".join(draw.choices(words, k=draw.randint(0, 12))) for _ in range(20)]
    return ["a red ball", long, *texts], [long, "a blue box", *reversed(texts)]


def _alone_together_and_elsewhere(judge: Fidelity) -> None:
    prompts, texts = _pairs()
    together = judge.score(prompts, texts)
    assert together == [judge.score([prompt], [text])[0] for prompt, text in zip(prompts, texts, strict=True)]
    assert together[::-1] == judge.score(prompts[::-1], texts[::-1])
    assert together * 2 == judge.score(prompts * 2, texts * 2)
    assert all(0 <= value <= 1 for score in together for value in score.values())


def test_values_do_not_depend_on_neighbours_to_the_bit(fidelity: Fidelity) -> None:
    shapes = set()
    hook = fidelity._network.register_forward_pre_hook(
        lambda _, args, given: shapes.add((given["input_ids"].shape, given["attention_mask"].shape)), with_kwargs=True
    )
    _alone_together_and_elsewhere(fidelity)
    hook.remove()
    assert shapes == {((4, 32), (4, 32))}


def test_a_long_text_is_read_to_its_end(fidelity: Fidelity) -> None:
    filler = "blue box " * 100
    (lost,), (kept,) = (fidelity.score(["a red ball"], [filler + end]) for end in ("green box", "a red ball"))
    assert kept["KEEP"] == 1 and lost["KEEP"] == 0
    assert kept["SENSE"] > lost["SENSE"] + 0.01


def test_another_batch_size_moves_values_by_rounding_only(encoder: Path, fidelity: Fidelity) -> None:
    other = Fidelity(configure(batch_size=7), encoder).score(*_pairs())
    for score, expected in zip(other, fidelity.score(*_pairs()), strict=True):
        assert score == pytest.approx(expected, abs=1e-6)


def test_what_cannot_be_used_is_refused(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"max_tokens: .* 512 tokens at most"):
        Fidelity(configure(max_tokens=513), encoder)
    with pytest.raises(InputError, match="never fetched"):
        load_judges({"fidelity": configure()}, tmp_path)
    shutil.copytree(encoder, tmp_path / "encoder", symlinks=False)
    (tmp_path / "encoder/config.json").unlink()
    with pytest.raises(InputError, match=r"config\.json: missing"):
        load_judges({"fidelity": configure()}, tmp_path)
    with pytest.raises(ValidationError):
        configure(max_tokens=8)


def test_the_section_is_light_to_import() -> None:
    code = "import sys, promptavideo.judges.fidelity; sys.exit(bool({'torch', 'transformers'} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


MINILM = Path(os.environ.get("MINILM_MODEL", ROOT / "resources/models/minilm-l6"))


@pytest.mark.skipif(not (MINILM / "manifest.json").is_file(), reason=f"{MINILM} is not a fetched model")
def test_a_trained_encoder_orders_what_is_kept_said_otherwise_and_lost() -> None:
    prompt = "Three elderly men play chess in a park while a brown dog sleeps under the table"
    texts = [
        "A sunlit park: three elderly men are playing chess, a brown dog is sleeping under the table. Golden hour",
        "A trio of old gentlemen enjoy a game of chess outdoors, a tan hound napping beneath the bench. Golden hour",
        "A sunlit park: men playing a game, golden hour, shallow depth of field, cinematic",
        "A rocket launches from a desert base, smoke billowing, high contrast, dramatic slow motion",
    ]
    judge = Fidelity(configure(), MINILM)
    scores = judge.score([prompt] * 4, texts)
    kept, otherwise, part, other = (score["SENSE"] for score in scores)
    assert 1 > kept > 0.85 > otherwise > 0.5 > part > 0.3 > 0.15 > other
    assert [score["KEEP"] for score in scores] == pytest.approx([1, 1 / 11, 3 / 11, 0])
    _alone_together_and_elsewhere(judge)
