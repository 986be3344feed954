"""VideoReward: visual quality, motion quality and text alignment, from Qwen2-VL-2B with a regression head.

Liu et al., "Improving Video Generation with Human Feedback", 2025. Constants without a source of their own are those of
the published `model_config.json` and of the VideoAlign repository.
"""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from promptavideo.dtypes import Dtype
from promptavideo.errors import InputError, ScoreError, named
from promptavideo.judges.clip import MEAN, STD
from promptavideo.judges.loading import check_type, load_reader, plain
from promptavideo.judges.neural import NeuralConfig, NeuralJudge, Row
from promptavideo.metrics import Metric
from promptavideo.operators.base import read_template
from promptavideo.settings import File, Planning, Ref
from promptavideo.video import Clip

if TYPE_CHECKING:
    import torch

    from promptavideo.config import Config

PLACEHOLDERS = ("prompt",)
"""What the query's template must contain."""

NORM = {"VR_VQ": (3.6757, 2.2476), "VR_MQ": (1.1646, 1.3811), "VR_TA": (2.8105, 2.5121)}
"""Mean and standard deviation of raw scores over the authors' validation videos; 0 and 1 of the published scores."""

TOKENS = ("<|VQ_reward|>", "<|MQ_reward|>", "<|TA_reward|>")
"""Follow the base's vocabulary. At each of them in the query the one head reads the score of that place in `NORM`."""

VIDEO = "<|video_pad|>"

RATE, FEWEST, MOST = 2.0, 4, 768
"""Frames a second that are looked at, and how many at least (if the clip has them) and at most."""

LEAST_PIXELS, MOST_PIXELS = 128 * 28 * 28, 256 * 28 * 28
"""Of a scaled frame, whose sides are multiples of 28."""

TEXT_STEP = 64
"""Queries are padded to a multiple of as many tokens, so that most rows have one length."""


class VideoRewardConfig(NeuralConfig):
    """VideoReward."""

    METRICS: ClassVar[tuple[Metric, ...]] = tuple(Metric(name) for name in NORM)

    kind: Literal["videoreward"]
    model: Annotated[str, Ref("models")]
    """Name in the registry: `checkpoint-11352/model.pth` of KwaiVGI/VideoReward (kind `url`)."""
    base: Annotated[str, Ref("models")]
    """Name in the registry: Qwen/Qwen2-VL-2B-Instruct, whose configuration and tokenizer it uses; with `weights: false`
    there, since VideoReward brings its own."""
    dtype: Dtype = "bfloat16"
    """As published."""
    batch_size: Annotated[int, Planning()] = Field(4, ge=1)
    """Clips of one call; every call is padded to it, so that a score does not depend on its neighbours."""
    template: Annotated[str, File()] = "templates/videoreward.txt"
    """The query that the model was trained with, to the letter (`detailed_special` of the VideoAlign repository, MIT
    licence): another wording is another metric."""

    def check(self, where: str, config: "Config", root: Path) -> None:
        """Check the query."""
        with named(f"{where}.template"):
            read_template(root / self.template, PLACEHOLDERS)

    def load(self, folders: Mapping[str, Path]) -> "VideoReward":
        """Load the network."""
        return VideoReward(self, folders["model"], folders["base"])


class VideoReward(NeuralJudge):
    """Normalised scores: 0 is the mean of the authors' validation videos, 1 a standard deviation over it."""

    def __init__(self, config: VideoRewardConfig, folder: Path, base: Path) -> None:
        """Load the network and the tokenizer.

        Args:
            config: Its entry.
            folder: The fetched weights.
            base: The folder of the Qwen2-VL that they were trained from.

        Raises:
            InputError: A folder holds another model, the template cannot be used, or a required GPU is missing.
        """
        import torch

        from promptavideo.judges.videoreward_network import load

        super().__init__(config, "VideoReward")
        check_type(base, ("qwen2_vl",))
        self._query = Template(read_template(Path(config.template), PLACEHOLDERS))
        self._tokenizer = load_reader(base)
        self._tokenizer.add_tokens(list(TOKENS), special_tokens=True)
        network, head = load(folder, base, config.dtype)
        text = network.config.text_config
        self._wanted = self._tokenizer.convert_tokens_to_ids([*TOKENS, VIDEO])
        if len(self._tokenizer) != text.vocab_size or self._wanted[-1] != network.config.video_token_id:
            raise InputError(
                f"{base}: its tokenizer is not that of the weights in {folder} ({len(self._tokenizer)} tokens with the "
                f"three of VideoReward, {text.vocab_size} embeddings); check which models the configuration names"
            )
        if sorted(token for token in self._ids("a red ball", 1) if token in self._wanted) != sorted(self._wanted):
            raise InputError(f"{config.template}: must hold {', '.join(TOKENS)} once each, in a turn with one video")
        self._longest = text.max_position_embeddings
        self._dtype = network.dtype
        self._head = head.float().to(self._device)
        self._norm = torch.tensor(list(NORM.values()), device=self._device).T
        self._network = self._place(network)

    def sample(self, clip: Clip) -> Clip:
        """An even number of frames, `RATE` a second, from the first to the last; a ScoreError where there are none."""
        import torch

        total = len(clip.frames)
        if total < 2 or not (isfinite(clip.fps) and clip.fps > 0):
            raise ScoreError(f"VideoReward judges motion: it cannot judge {total} frames at {clip.fps} a second")
        count = 2 * round(min(max(total / clip.fps * RATE, FEWEST), min(total, MOST) // 2 * 2) / 2)
        places = torch.linspace(0, total - 1, count).round().long()
        return Clip(clip.frames[places.numpy()], RATE)

    def _ids(self, prompt: str, tokens: int) -> list[int]:
        """The turn that asks about a prompt and a video of as many tokens."""
        query = {"type": "text", "text": self._query.substitute(prompt=plain(prompt, self._tokenizer))}
        turn = {"role": "user", "content": [{"type": "video"}, query]}
        text = self._tokenizer.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)
        found: list[int] = self._tokenizer(text.replace(VIDEO, VIDEO * tokens))["input_ids"]
        return found

    def _read(self, clip: Clip, prompt: str) -> Row:
        import torch

        pixels = _patches(clip)  # [t, y, x, 4, 1176]
        ids = self._ids(prompt, pixels.shape[:3].numel())
        if len(ids) > self._longest:
            raise ScoreError(f"prompt {prompt!r:.80} and video are {len(ids)} tokens; the model reads {self._longest}")
        padding = [self._tokenizer.pad_token_id or 0] * (-len(ids) % TEXT_STEP)
        return {
            "input_ids": torch.tensor(ids + padding),
            "places": torch.tensor([ids.index(token) for token in self._wanted[:-1]]),
            "pixels": pixels.to(self._dtype),
        }

    def _forward(self, batch: Row) -> "torch.Tensor":
        import torch

        ids, pixels = batch["input_ids"], batch["pixels"]
        rows, length = ids.shape
        times, height, width = pixels.shape[1:4]
        states = self._network(
            input_ids=ids,
            # Plain ones, of video tokens too: the authors' network was trained and is run without Qwen2-VL's positions
            # in frames, since its `forward` does not compute them.
            position_ids=torch.arange(length, device=ids.device).expand(3, rows, length),
            pixel_values_videos=pixels.flatten(0, -2),
            video_grid_thw=torch.tensor([[times, 2 * height, 2 * width]] * rows, device=ids.device),
            use_cache=False,
        ).last_hidden_state
        # Padding follows the tokens that are read, so that causal attention never sees it.
        read = states[torch.arange(rows, device=ids.device)[:, None], batch["places"]]
        mean, deviation = self._norm
        # No matrix product, whose sums depend on a row's place in the batch.
        return ((read.float() * self._head).sum(-1) - mean) / deviation


def _patches(clip: Clip) -> "torch.Tensor":
    """Frames scaled, normalised and cut as Qwen2-VL takes them.

    Returns:
        float32 [T / 2, H / 28, W / 28, 4, 1176]: for each token its 2 x 2 patches of 2 frames, 3 colours, 14 x 14.

    Raises:
        ScoreError: One side is more than 200 times the other.
    """
    import torch
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    height, width = clip.frames.shape[1:3]
    try:
        size = smart_resize(height, width, 28, LEAST_PIXELS, MOST_PIXELS)
    except ValueError as error:
        raise ScoreError(f"frames of {width} x {height} pixels cannot be judged: {error}") from error
    frames = torch.from_numpy(clip.frames).permute(0, 3, 1, 2).float()
    scaled = torch.nn.functional.interpolate(frames, size, mode="bicubic", antialias=True).clamp(0, 255).round()
    mean, deviation = torch.tensor([MEAN, STD])[..., None, None]
    normal = (scaled / 255 - mean) / deviation
    cut = normal.reshape(-1, 2, 3, size[0] // 28, 2, 14, size[1] // 28, 2, 14)
    return cut.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).flatten(5).flatten(3, 4)
