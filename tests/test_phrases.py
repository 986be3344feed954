import pytest

from promptavideo.phrases import repeats


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a ball, well lit, steady camera, well lit", "well lit"),
        ("A red ball rolls. The red ball is bright.", "red ball"),
        ("Well lit ball; a ball that is WELL-LIT", "WELL-LIT"),  # case, and what joins the words
        ("a ball of light and some balls of lights", "balls of lights"),  # function words within, and inflections
        ("two small boxes by 2 small boxes", "2 small"),
        ("big big big big", "big big"),
        ("红色气球在红色气球上", "红色气球"),  # two characters are one word
        ("steady\u200b camera and a steady camera", "steady camera"),
    ],
)
def test_a_phrase_that_is_said_twice_is_found(text: str, said: str) -> None:
    assert repeats(text) == said


@pytest.mark.parametrize(
    "text",
    [
        "",
        "...",
        "ball",
        "a red ball and a blue ball, steady camera",  # one word twice is no phrase
        "steady, vivid, steady, vivid",  # punctuation parts words
        "steady camera, well lit, camera, well",
        "the ball is on the left and on the right of it",  # function words alone are no phrase
        "big big big",  # the two places would share a word
        "红色的球在红色的墙上",  # 红色 is one word
    ],
)
def test_what_is_no_phrase_or_said_once_is_not(text: str) -> None:
    assert repeats(text) is None


def test_long_texts_take_no_longer_than_their_words() -> None:
    words = " ".join(
        f"{chr(97 + place % 26)}{chr(97 + place // 26 % 26)}{chr(97 + place // 676)}x" for place in range(9000)
    )
    assert repeats(words) is None
    assert repeats(f"{words}, steady camera, {words}") is not None
