"""A loaded booster that rewrites prompts: the same text as in its run's tables for the same prompt and seed."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from promptavideo.devices import enough_memory
from promptavideo.negatives import Negatives, Subject, Written
from promptavideo.prompts import prompt_id
from promptavideo.reading import Fits, within
from promptavideo.refiners.base import Tally
from promptavideo.seeds import derive
from promptavideo.use.source import Settings, Source

if TYPE_CHECKING:
    from promptavideo.boosters.sampling import BoosterSampler

log = logging.getLogger(__name__)

SMALLER = "take a smaller booster, or a machine with more memory"


@dataclass(frozen=True)
class Variant:
    """One text for a prompt."""

    text: str
    negative: str | None = None
    """A negative prompt for it, where these were asked for and there is a usable one."""
    fault: str = ""
    """Why the prompt itself stands here, where the booster's answer was no prompt."""


@dataclass(frozen=True)
class Boosted:
    """A prompt and what a booster made of it."""

    prompt: str
    prompt_id: str
    variants: tuple[Variant, ...]


class Boost:
    """A booster, loaded."""

    def __init__(
        self,
        source: Source,
        seed: int | None = None,
        negative: Source | None = None,
        fits: Fits | None = None,
        rows: int | None = None,
    ) -> None:
        """Load the model, and that of negative prompts if they are wanted.

        Args:
            source: The booster.
            seed: In place of the run's.
            negative: A booster of negative prompts.
            fits: In place of the generators' that it learned from: whether a text is short enough.
            rows: Rows of a call, in place of those of its run. A few prompts then take a part of the time, and sums
                that round otherwise give another text now and then.

        Raises:
            InputError: A model cannot be loaded, or its device is missing or too small.
        """
        self.source, self.seed = source, source.seed if seed is None else seed
        self._fits = fits or within(source.readers.values())
        self.sampler = _load(source, rows)
        self._negative = _load(negative, rows) if negative else None
        self._limits = negative.descriptors if negative else None

    @property
    def rows(self) -> int:
        """Texts that are best asked for at a time."""
        return self.sampler.rows_a_call * self.sampler.workers

    def write(self, prompts: Sequence[str], count: int = 1) -> list[Boosted]:
        """Some variants of each prompt, in order.

        The first variant is that of the run's tables. None depends on the other prompts, or on how many are asked for.
        A variant whose answer is no prompt is the prompt itself, and a warning says why.

        Args:
            prompts: Checked ones, see `use.prompts`.
            count: Variants of each.

        Raises:
            InputError: A prompt is too long for the booster, or memory does not suffice.
        """
        ids = [prompt_id(one) for one in prompts]
        asked = [(place, number) for place in range(len(prompts)) for number in range(count)]
        seeds = [derive(self.seed, "refine", ids[place], *_further(number)) for place, number in asked]
        stage, settings = f"boost with {self.source.name}", self.sampler.settings
        answers = self.sampler.answers([prompts[place] for place, _ in asked], seeds, stage)
        variants: list[list[Variant]] = [[] for _ in prompts]
        for (place, number), answer in zip(asked, answers, strict=True):
            tally = Tally()
            text = tally.read(answer, prompts[place], settings.max_words, self._fits)
            fault = next(iter(tally.dropped), "")
            if fault:
                log.warning(
                    "the answer about %.60r is no prompt (%s), so the prompt itself stands in%s",
                    prompts[place], fault, "" if count == 1 else f" as variant {number + 1}",
                )  # fmt: skip
            variants[place].append(Variant(text, fault=fault))
        found = [Boosted(*one) for one in zip(prompts, ids, map(tuple, variants), strict=True)]
        return [self._with_negatives(one) for one in found] if self._negative else found

    def stream(self, prompts: Sequence[str], count: int = 1) -> Iterator[Boosted]:
        """What `write` gives, as soon as each full call is done."""
        step = max(1, self.rows // count)
        for start in range(0, len(prompts), step):
            yield from self.write(prompts[start : start + step], count)

    def _with_negatives(self, boosted: Boosted) -> Boosted:
        """The same with negative prompts; a text without a usable one has none."""
        assert self._negative is not None and self._limits is not None
        texts = [one.text for one in boosted.variants]
        seeds = [derive(self.seed, "negative", boosted.prompt_id, *_further(place)) for place in range(len(texts))]
        answers = self._negative.answers(texts, seeds, "write negative prompts")
        variants = []
        for one, answer in zip(boosted.variants, answers, strict=True):
            negatives = Negatives(self._limits)
            negative = negatives.read(Written(answer), Subject(boosted.prompt_id, boosted.prompt, one.text))
            if negative is None:
                log.warning("%.60r: %s", boosted.prompt, negatives.report())
            variants.append(replace(one, negative=negative))
        return replace(boosted, variants=tuple(variants))


def _further(number: int) -> tuple[int, ...]:
    """What tells a further variant's seed from the first's, which is that of the run's tables."""
    return (number,) if number else ()


def _load(source: Source, rows: int | None) -> "BoosterSampler":
    from promptavideo.refiners.booster import load_sampler

    settings: Settings = source.settings
    if rows:
        sampling = settings.sampling.model_copy(update={"batch_size": min(rows, settings.sampling.batch_size)})
        settings = replace(settings, sampling=sampling)
    with enough_memory(SMALLER):
        return load_sampler(source.chain, source.instruction, settings, "booster")
