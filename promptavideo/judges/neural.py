"""What rewards that are neural networks share: device and threads, batches of one shape, too little GPU memory."""

import logging
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from pydantic import Field

from promptavideo.devices import Device, choose_device, ran_out
from promptavideo.dtypes import Dtype, resolve
from promptavideo.errors import InputError, ScoreError
from promptavideo.judges.base import Judge, JudgeEntry
from promptavideo.settings import Planning
from promptavideo.video import Clip

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

Row = dict[str, "torch.Tensor"]
"""What a network reads for one clip, by argument, without a batch dimension."""


class NeuralConfig(JudgeEntry):
    """What the entry of any neural judge may set."""

    device: Annotated[Device, Planning()] = "auto"
    """`auto` is a GPU when there is one."""
    threads: Annotated[int, Planning()] = Field(1, ge=1)
    """Torch threads of a scoring job. Fixed here and not taken from the scheduler, since sums depend on it."""
    batch_size: Annotated[int, Planning()] = Field(8, ge=1)
    """Clips of one call; every call is padded to it, so that a score does not depend on its neighbours."""

    if TYPE_CHECKING:  # each kind has its own default; a field here would reorder what cached scores are kept under
        dtype: Dtype

    def settled(self, name: str) -> Self:
        """The entry with the dtype that this machine decides."""
        if self.dtype in ("float32", "float16"):
            return self
        device = choose_device(self.device, f"judges.{name}.device")
        return self.model_copy(update={"dtype": resolve(self.dtype, device, f"judges.{name}")})


def sample_frames(clip: Clip, count: int) -> Clip:
    """`count` frames spread over a clip, from its first: those at arange(0, n, n / count), rounded down.

    A clip of fewer frames gives some of them more than once. The rule of VideoScore's and of the paper's own scripts.
    """
    total = len(clip.frames)
    places = np.arange(0, total, total / count)[:count].astype(int)
    return Clip(clip.frames[places], clip.fps)


class NeuralJudge(Judge):
    """Scores clips with a network, in batches of one shape.

    Floating-point sums depend on tensor shapes. So every call is padded to `batch_size` rows by repeating one, rows of
    different shapes never share a call, and the shape of a row depends on its own clip and prompt alone: a score is the
    same to the bit however the work was split. Another batch size, or device, moves it by rounding.
    """

    def __init__(self, config: NeuralConfig, name: str) -> None:
        """Choose the device.

        Args:
            config: The entry.
            name: What messages call this reward.

        Raises:
            InputError: A GPU is required and there is none.
        """
        import torch

        self.metrics = tuple(metric.name for metric in config.METRICS)
        self.batch_size, self._threads, self._name = config.batch_size, config.threads, name
        self._asked_for, self._computes_in = config.batch_size, config.dtype
        self._device = torch.device(choose_device(config.device, f"judges.{name}.device"))

    @abstractmethod
    def sample(self, clip: Clip) -> Clip:
        """The frames it looks at, in order."""

    @abstractmethod
    def _read(self, clip: Clip, prompt: str) -> Row:
        """What the network reads for one sampled clip."""

    @abstractmethod
    def _forward(self, batch: Row) -> "torch.Tensor":
        """Scores [rows, metrics] of a batch on the device."""

    def _place(self, network: Any) -> Any:
        """Move a network to the device.

        Raises:
            InputError: The GPU's memory does not hold it.
        """
        try:
            return network.to(self._device)
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
            raise InputError(
                f"{self._name}: the GPU's memory does not hold the model; use a GPU with more, fewer rewards at a "
                "time, or dtype: bfloat16"
            ) from error

    def prepare(self, clip: Clip, prompt: str) -> Row:
        """What the network reads for one clip; see `Judge.prepare`.

        Raises:
            ScoreError: The clip is not uint8 [T, H, W, 3] with T > 0, or the prompt is too long.
        """
        shape, kind = clip.frames.shape, clip.frames.dtype
        if len(shape) != 4 or shape[3] != 3 or not all(shape) or kind != np.uint8:
            raise ScoreError(f"a clip is {kind} {list(shape)}, not uint8 [frames, height, width, 3]")
        return self._read(self.sample(clip), prompt)

    def circumstances(self) -> dict[str, Any]:
        """The dtype, and the batch size that memory allowed if it is not the one asked for: both move scores."""
        halved = {"batch_size": self.batch_size} if self.batch_size != self._asked_for else {}
        return {"dtype": self._computes_in, **halved}

    def score(self, clips: Sequence[Clip], prompts: Sequence[str]) -> list[dict[str, float]]:
        """Raw scores of each clip; raises what `prepare` and `score_prepared` do."""
        return self.score_prepared([self.prepare(clip, prompt) for clip, prompt in zip(clips, prompts, strict=True)])

    def score_prepared(self, prepared: Sequence[Row]) -> list[dict[str, float]]:
        """Raw scores of each row; see `Judge.score_prepared`.

        Raises:
            InputError: Memory does not hold one clip.
        """
        import torch

        torch.set_num_threads(self._threads)
        groups: dict[tuple[tuple[str, torch.Size], ...], list[int]] = {}
        for place, row in enumerate(prepared):
            groups.setdefault(tuple((name, tensor.shape) for name, tensor in row.items()), []).append(place)
        found: dict[int, list[float]] = {}
        for places in groups.values():
            found |= zip(places, self._score_rows([prepared[place] for place in places]), strict=True)
        return [dict(zip(self.metrics, found[place], strict=True)) for place in range(len(prepared))]

    def _score_rows(self, rows: Sequence[Row]) -> list[list[float]]:
        """Scores of rows of one shape; where memory does not hold a batch, half of it is tried."""
        done: list[list[float]] = []
        while len(done) < len(rows):
            scores = self._call(rows[len(done) : len(done) + self.batch_size])
            if scores is None:
                self._halve()
            else:
                done += scores
        return done

    def _call(self, rows: Sequence[Row]) -> list[list[float]] | None:
        """Scores of at most `batch_size` rows; None if memory runs out."""
        import torch

        padded = [*rows, *[rows[-1]] * (self.batch_size - len(rows))]
        try:
            batch = {name: torch.stack([row[name] for row in padded]).to(self._device) for name in rows[0]}
            with torch.inference_mode():
                scores = self._forward(batch)
            return scores[: len(rows)].float().cpu().tolist()
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
            return None

    def _halve(self) -> None:
        import torch

        where = "GPU" if self._device.type == "cuda" else "main"
        if self.batch_size == 1:
            raise InputError(
                f"{self._name}: {where} memory does not hold even one video. What is scored is kept. Take a machine "
                "with more, dtype: bfloat16, or fewer frames"
            )
        self.batch_size //= 2
        log.warning("%s: out of %s memory; going on with batches of %d", self._name, where, self.batch_size)
        torch.cuda.empty_cache()
