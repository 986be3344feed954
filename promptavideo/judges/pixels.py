"""The laptop's reward: all seven dimensions from the pixels of clips of the synthetic world."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from promptavideo.errors import ScoreError
from promptavideo.judges.base import Judge
from promptavideo.judges.detector import Detection, detect
from promptavideo.metrics import HPS, PAPER
from promptavideo.miniature.world import BACKGROUND_WORDS, COLOURS, MOTION_WORDS, SHAPE_WORDS
from promptavideo.video import Clip

NEUTRAL_AGREEMENT = 0.5
"""Agreement with a prompt that names nothing this reward knows; its TVA is then 2.5, the middle of the range."""

RANGES = {one.name: (one.low, one.high) for one in PAPER}
"""Lowest and highest raw score of each dimension."""

# Each measure's (bad end, good end): just outside what true renders with bad (0.8-1) and good (0-0.1) flaws show, so
# that few scores are clipped and the spread over seeds stays visible.
SHARPNESS = (-0.1, 1.05)
FLICKER = (0.26, 0.0)
SPEED = (0.50, 2.45)
JITTER = (2.1, 0.0)
VIVIDNESS = (0.27, 1.0)
EXPOSURE = (0.24, 0.56)
PREFERRED = (20.0, 35.0)
"""Where HPS v2.1 puts poor and good images of published models."""
FAITHFUL = 0.4  # the part of MPS that an unfaithful clip loses, whatever its exposure

# Words that name a factor besides the world's own phrases; regular expressions of whole words.
_MORE_MOTION_WORDS = {
    "left": ("left", "leftwards?"),
    "right": ("right", "rightwards?"),
    "up": ("(?<!close[ -])up", "upwards?", "ris(?:es|ing|e)", "ascend(?:s|ing)?", "climb(?:s|ing)?"),
    "down": ("down", "downwards?", "fall(?:s|ing)?", "sink(?:s|ing)?", "descend(?:s|ing)?", "drop(?:s|ping)?"),
}
_MORE_BACKGROUND_WORDS = {
    "stripes": ("strip(?:es?|ed|y)", "curtains?"),
    "tiles": ("til(?:es?|ed)", "chessboard", "checkerboard", "(?:check|chequ)ered"),
    "horizon": ("horizon", "sky"),
    "wall": ("walls?", "backdrop"),  # last: "a striped wall" is striped
}


def _whole_words(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(patterns)})\b", re.IGNORECASE)


def _literal(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(re.escape(word).replace(r"\ ", r"\s+") for word in words)


_COLOUR = _whole_words(_literal(tuple(COLOURS)))
_SHAPES = {name: _whole_words([f"{word}s?" for word in _literal(words)]) for name, words in SHAPE_WORDS.items()}
_MOTIONS = {name: _whole_words(_literal(words) + _MORE_MOTION_WORDS[name]) for name, words in MOTION_WORDS.items()}
_BACKGROUNDS = {
    name: _whole_words(_literal(BACKGROUND_WORDS[name]) + words) for name, words in _MORE_BACKGROUND_WORDS.items()
}


@dataclass(frozen=True)
class Content:
    """What a prompt asks for; None where it names nothing the world knows."""

    colour: str | None
    shape: str | None
    motion: str | None
    background: str | None


def parse_content(prompt: str) -> Content:
    """Read the content that `prompt` names, by whole words in any case.

    Of several shapes or motions the first named counts; of several colours the last before the shape ("under a blue sky
    a red ball"); of several backgrounds the most specific.
    """
    shape = _first(_SHAPES, prompt)
    colours = list(_COLOUR.finditer(prompt))
    if shape is not None:
        place = min(match.start() for pattern in _SHAPES.values() if (match := pattern.search(prompt)))
        colours = [match for match in colours if match.start() < place][-1:] or colours
    return Content(
        colour=colours[0].group().lower() if colours else None,
        shape=shape,
        motion=_first(_MOTIONS, prompt),
        background=next((name for name, pattern in _BACKGROUNDS.items() if pattern.search(prompt)), None),
    )


def _first(patterns: Mapping[str, re.Pattern[str]], text: str) -> str | None:
    places = {name: match.start() for name, pattern in patterns.items() if (match := pattern.search(text))}
    return min(places, key=lambda name: places[name]) if places else None


def agreement(seen: Detection, asked: Content) -> float:
    """Mean evidence, 0..1, for the factors that a prompt names; `NEUTRAL_AGREEMENT` if it names none.

    One frame shows no motion, so none is asked of it.
    """
    evidence = [
        found[label]
        for label, found in (
            (asked.colour, seen.colour_evidence),
            (asked.shape, seen.shape_evidence),
            (asked.motion if seen.frames > 1 else None, seen.motion_evidence),
            (asked.background, seen.background_evidence),
        )
        if label is not None
    ]
    return sum(evidence) / len(evidence) if evidence else NEUTRAL_AGREEMENT


class PixelJudge(Judge):
    """Scores clips and images of the synthetic world by what `detector.detect` measures.

    VQ reads the object's sharpness, TC the flicker, DD the speed, TVA the agreement of content with the prompt, FC the
    path's jitter, AES the object's vividness, and MPS the exposure, weighted with the agreement. Each is a clipped
    linear map onto `RANGES`. A clip without an object gets the lowest VQ, DD, FC and AES.
    """

    metrics = tuple(one.name for one in PAPER)

    def score(self, clips: Sequence[Clip], prompts: Sequence[str]) -> list[dict[str, float]]:
        """Raw scores of each clip: VQ, TC, DD, TVA, FC in 1..4, AES in 1..10, MPS in 0..20.

        Raises:
            ScoreError: A clip is not uint8 [T, H, W, 3], or a score is not finite.
        """
        return [_score(detect(clip.frames), prompt) for clip, prompt in zip(clips, prompts, strict=True)]


class PixelPreference(Judge):
    """Stands in for HPS v2.1 in the synthetic world: a sharp, vivid and well lit object, weighted with the agreement.

    Sharpness is in no other metric of images, so it shows whether boosters only please what they were trained on.
    """

    metrics = (HPS.name,)

    def score(self, clips: Sequence[Clip], prompts: Sequence[str]) -> list[dict[str, float]]:
        """Each clip's or image's score, in the range of `PREFERRED`; without an object it is the lowest.

        Raises:
            ScoreError: A clip is not uint8 [T, H, W, 3].
        """
        return [
            {HPS.name: _preferred(detect(clip.frames), prompt)} for clip, prompt in zip(clips, prompts, strict=True)
        ]


def _preferred(seen: Detection, prompt: str) -> float:
    looks = (
        _share(seen.sharpness, SHARPNESS), _share(seen.vividness, VIVIDNESS), _share(seen.exposure, EXPOSURE)
    )  # fmt: skip
    bad, good = PREFERRED
    return bad + (good - bad) * agreement(seen, parse_content(prompt)) * seen.found * sum(looks) / len(looks)


def _score(seen: Detection, prompt: str) -> dict[str, float]:
    faithful = agreement(seen, parse_content(prompt))
    object_there = float(seen.found)
    shares = {
        "VQ": object_there * _share(seen.sharpness, SHARPNESS),
        "TC": _share(seen.flicker, FLICKER),
        "DD": object_there * _share(seen.speed, SPEED),
        "TVA": faithful,
        "FC": object_there * _share(seen.jitter, JITTER),
        "AES": object_there * _share(seen.vividness, VIVIDNESS),
        "MPS": _share(seen.exposure, EXPOSURE) * (1 - FAITHFUL + FAITHFUL * faithful),
    }
    scores = {name: RANGES[name][0] + (RANGES[name][1] - RANGES[name][0]) * shares[name] for name in RANGES}
    if wrong := [name for name, value in scores.items() if not math.isfinite(value)]:
        raise ScoreError(f"prompt {prompt!r}: {', '.join(wrong)} not finite; the clip's measures are {seen}")
    return scores


def _share(value: float, ends: tuple[float, float]) -> float:
    """Where `value` lies between a bad end (0) and a good end (1), clipped; NaN stays NaN."""
    bad, good = ends
    share = (value - bad) / (good - bad)
    return share if math.isnan(share) else min(max(share, 0.0), 1.0)
