"""Draw refined prompts from a booster, in large batches, each row with its own seed."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from promptavideo.boosters.base import encode, turn_ends
from promptavideo.boosters.chat import Instruction
from promptavideo.boosters.config import Dtype, SamplingSettings
from promptavideo.boosters.load import Chain, load_chain
from promptavideo.devices import Device, choose_device, enough_memory
from promptavideo.dtypes import resolve
from promptavideo.errors import InputError
from promptavideo.progress import Progress
from promptavideo.reading import Fits, anything
from promptavideo.refiners.base import Tally


class GumbelNoise(LogitsProcessor):
    """Adds each row's own Gumbel noise, so that the arg max is a draw from the softmax (the Gumbel-max trick).

    `generate` draws a whole batch from one random stream, which ties a row to its neighbours; with its own noise a row
    depends on its own seed alone.
    """

    def __init__(self, seeds: Sequence[int], device: str = "cpu") -> None:
        """Start each row's stream on the device of the scores: a large vocabulary's noise is slow to draw and move."""
        self._device = device
        self._generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """`scores` [B, V] plus noise; tokens that were ruled out (-inf) stay out."""
        uniform = torch.stack(
            [torch.rand(scores.shape[-1], generator=row, device=self._device) for row in self._generators]
        )
        noise = -torch.log(-torch.log(uniform.clamp_(1e-20, 1 - 1e-7)))
        return scores + noise  # type: ignore[return-value]


class SpareRows(StoppingCriteria):
    """Ends the rows that only fill a call up to its shape, so that it is over when those that were asked for are.

    The call keeps its shape to the end, so this changes no text.
    """

    def __init__(self, asked: int) -> None:
        """Keep how many rows, from the first, were asked for."""
        self._asked = asked

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: Any) -> torch.BoolTensor:
        """Which rows of `input_ids` [B, L] are at their end."""
        return torch.arange(len(input_ids), device=input_ids.device) >= self._asked  # type: ignore[return-value]


def call_of(rows: Sequence[list[int]], shape: tuple[int, int], pad: int, device: str) -> dict[str, torch.Tensor]:
    """Arguments of `generate`, all of one `shape`: rows of tokens padded on the left, the last one repeated."""
    tokens = torch.full(shape, pad)
    mask = torch.zeros_like(tokens)
    for place, row in enumerate([*rows, *[rows[-1]] * (shape[0] - len(rows))]):
        tokens[place, -len(row) :] = torch.tensor(row)
        mask[place, -len(row) :] = 1
    return {"input_ids": tokens.to(device), "attention_mask": mask.to(device)}


class Drawing(Protocol):
    """What a section says of how its chat model draws: `booster`, or the entry of a refiner."""

    @property
    def sampling(self) -> SamplingSettings:
        """How texts are drawn."""

    @property
    def device(self) -> Device:
        """`auto`, `cpu` or `cuda`."""

    @property
    def dtype(self) -> Dtype:
        """Of the weights."""

    @property
    def threads(self) -> int:
        """Calls at a time, on a processor."""


class BoosterSampler(ABC):
    """A loaded booster, or another chat model, that rewrites prompts; subclasses are the engines that draw."""

    engine: str
    """The package that draws."""
    rows_a_call: int
    """Rows that an engine takes at a time."""
    tokenizer: Any
    """The base model's."""
    ends: list[int]
    """The tokens that end its turn."""
    workers: int = 1
    """Calls at a time."""

    def __init__(self, instruction: Instruction, config: Drawing, key: str = "booster") -> None:
        """Decide what it computes on, `cpu` or `cuda`, and in which dtype.

        Args:
            instruction: Asks for a refined text.
            config: How to draw.
            key: Where that stands in the configuration, for messages.

        Raises:
            InputError: A GPU is required and there is none.
        """
        self._instruction, self.settings, self.key = instruction, config.sampling, key
        self.device = choose_device(config.device, f"{key}.device")
        self.dtype = resolve(config.dtype, self.device, key)
        self.tally = Tally()

    @abstractmethod
    def _draw(self, asked: Sequence[list[int]], seeds: Sequence[int]) -> list[str]:
        """The raw answers to at most `rows_a_call` encoded conversations, each drawn with its own seed."""

    def rewrite(self, prompts: Sequence[str], seeds: Sequence[int], stage: str, fits: Fits = anything) -> list[str]:
        """One refined text for each prompt and its seed, in order; one that does not fit is cut.

        An answer that is no prompt falls back to the prompt itself; `tally` counts them.

        Raises:
            InputError: As `answers`, or no answer at all is usable.
        """
        answers = self.answers(prompts, seeds, stage)
        tally = self.tally = Tally()
        texts = [
            tally.read(answer, prompt, self.settings.max_words, fits)
            for answer, prompt in zip(answers, prompts, strict=True)
        ]
        tally.close(stage)
        return texts

    def answers(self, prompts: Sequence[str], seeds: Sequence[int], stage: str) -> list[str]:
        """What the booster answers about each prompt, with its seed, in order; as it is.

        Raises:
            InputError: A prompt with its instruction is longer than `max_prompt_tokens`, or the GPU's memory does not
                suffice.
        """
        asked = [self._encode(prompt) for prompt in prompts]
        calls = [slice(start, start + self.rows_a_call) for start in range(0, len(asked), self.rows_a_call)]
        progress = Progress(stage, len(prompts), "candidates")
        answers: list[str] = []

        def draw(rows: slice) -> list[str]:
            with enough_memory(f"lower {self.key}.sampling.batch_size, which is {self.settings.batch_size}"):
                return self._draw(asked[rows], seeds[rows])

        with ThreadPoolExecutor(self.workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            try:
                for drawn in pool.map(draw, calls):
                    answers += drawn
                    progress.advance(len(drawn))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return answers

    def _encode(self, prompt: str) -> list[int]:
        limit = self.settings.max_prompt_tokens
        row = encode(self.tokenizer, self._instruction.ask(prompt), answering=True)
        if len(row) > limit:
            raise InputError(
                f"prompt {prompt[:80]!r} takes {len(row)} tokens with its instruction, more than "
                f"{self.key}.sampling.max_prompt_tokens = {limit}"
            )
        return row


class Sampler(BoosterSampler):
    """Draws with transformers' `generate`.

    Every call of the model has one shape: `batch_size` rows of `max_prompt_tokens` tokens, padded. Floating-point sums
    depend on shapes, so this is what makes a row's text independent of its neighbours and of the number of rows. They
    also depend on how threads share a batch: with two, a row's bfloat16 logits now and then changed with its place. So
    every call computes on one thread, and several calls at a time take several cores.
    """

    engine = "transformers"

    def __init__(self, chain: Chain, instruction: Instruction, config: Drawing, key: str = "booster") -> None:
        """Load the model; see `BoosterSampler`."""
        torch.set_num_threads(1)
        super().__init__(instruction, config, key)
        self.workers = config.threads if self.device == "cpu" else 1
        self.rows_a_call = self.settings.batch_size
        model: Any
        model, self.tokenizer = load_chain(chain, self.dtype)
        self.ends = turn_ends(chain.base, self.tokenizer)
        with enough_memory(f"take a smaller model ({key}), or a GPU with more memory"):
            self._model: Any = model.to(self.device).eval()
        # torch multiplies a view, such as the last states of all rows, by a copy of the whole head for each row.
        self._model.get_output_embeddings().register_forward_pre_hook(lambda _, given: (given[0].contiguous(),))

    def _draw(self, asked: Sequence[list[int]], seeds: Sequence[int]) -> list[str]:
        settings, tokenizer = self.settings, self.tokenizer
        spare = settings.batch_size - len(asked)
        shape = (settings.batch_size, settings.max_prompt_tokens)
        processors = LogitsProcessorList([TemperatureLogitsWarper(float(settings.temperature))])
        if settings.top_k:
            processors.append(TopKLogitsWarper(settings.top_k))
        if settings.top_p < 1:
            processors.append(TopPLogitsWarper(settings.top_p))
        processors.append(GumbelNoise([*seeds, *[0] * spare], self.device))
        with torch.inference_mode():
            output = self._model.generate(
                **call_of(asked, shape, tokenizer.pad_token_id, self.device),
                logits_processor=processors,
                stopping_criteria=StoppingCriteriaList([SpareRows(len(asked))]),
                generation_config=GenerationConfig(
                    do_sample=False,
                    max_new_tokens=settings.max_new_tokens,
                    pad_token_id=tokenizer.pad_token_id,
                    eos_token_id=self.ends,
                ),
            )
        answers = output[: len(asked), settings.max_prompt_tokens :]
        return tokenizer.batch_decode(answers, skip_special_tokens=True)
