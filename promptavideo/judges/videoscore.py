"""VideoScore (v1 and v1.1): VQ, TC, DD, TVA and FC from a vision-language model with a regression head.

He et al., "VideoScore: Building Automatic Metrics to Simulate Fine-grained Human Feedback for Video Generation", 2024.
"""

from collections.abc import Mapping
from pathlib import Path, PurePath
from string import Template
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from promptavideo.dtypes import Dtype
from promptavideo.errors import InputError, ScoreError, named
from promptavideo.judges.loading import check_type, load_network, load_reader, plain
from promptavideo.judges.neural import NeuralConfig, NeuralJudge, Row, sample_frames
from promptavideo.metrics import VIDEOSCORE, Metric
from promptavideo.operators.base import read_template
from promptavideo.settings import File, Ref
from promptavideo.video import Clip

if TYPE_CHECKING:
    import torch

    from promptavideo.config import Config

PLACEHOLDERS = ("prompt",)
"""What the query's template must contain."""

TEXT_STEP = 64
"""The text of a query is padded to a multiple of as many tokens, so that nearly all rows have one length."""


def trained_frames(name: str) -> int | None:
    """Frames that a version was trained with, by its name on the Hub, its folder or its entry; None for other names.

    v1.1 is found within a path too: in the Hub's cache the folder itself is named after the revision.
    """
    if "videoscore-v1.1" in name.lower():
        return 48
    return 16 if PurePath(name.lower()).name == "videoscore" else None


class VideoScoreConfig(NeuralConfig):
    """VideoScore; `max_frames` tells its versions apart."""

    METRICS: ClassVar[tuple[Metric, ...]] = VIDEOSCORE
    VERSION: ClassVar[int] = 2

    kind: Literal["videoscore"]
    model: Annotated[str, Ref("models")]
    """Name in the registry: TIGER-Lab/VideoScore or TIGER-Lab/VideoScore-v1.1."""
    dtype: Dtype = "bfloat16"
    """As published. Scores are steps of 1/64 then, of the published anchors too."""
    max_frames: int = Field(16, ge=1)
    """16 for v1, 48 for v1.1; longer clips are sampled evenly. Checked where the model's name says which it is, and
    required where it does not."""
    template: Annotated[str, File()] = "templates/videoscore.txt"
    """The query that the model was trained with, to the letter (regression query of the TIGER-AI-Lab/VideoScore
    repository): another wording is another metric."""

    def check(self, where: str, config: "Config", root: Path) -> None:
        """Check the query, and that the frames are those that the named version was trained with."""
        with named(f"{where}.template"):
            read_template(root / self.template, PLACEHOLDERS)
        model = config.models[self.model]
        published = getattr(model, "repo_id", getattr(model, "path", self.model))
        frames = trained_frames(published) or trained_frames(self.model)
        if frames is None and "max_frames" not in self.model_fields_set:
            raise InputError(f"{where}.max_frames: {published} is VideoScore v1 (write 16), v1.1 (48) or another?")
        if frames not in (None, self.max_frames):
            raise InputError(f"{where}.max_frames: {published} was trained with {frames} frames; write {frames}")

    def load(self, folders: Mapping[str, Path]) -> "VideoScore":
        """Load the network."""
        return VideoScore(self, folders["model"])


class VideoScore(NeuralJudge):
    """Raw regression outputs, mostly 1..4, in the order VQ TC DD TVA FC, neither clipped nor rounded further."""

    def __init__(self, config: VideoScoreConfig, folder: Path) -> None:
        """Load the network, its tokenizer and its image processor.

        Args:
            config: Its entry.
            folder: The fetched model.

        Raises:
            InputError: The folder holds another model, the template cannot be used, or a required GPU is missing.
        """
        from transformers import Idefics2Processor
        from transformers.models.idefics2.image_processing_pil_idefics2 import Idefics2ImageProcessorPil

        from promptavideo.judges.idefics2 import Idefics2ForSequenceClassification

        super().__init__(config, "VideoScore")
        self._max_frames = config.max_frames
        self._template = Template(read_template(Path(config.template), PLACEHOLDERS))
        check_type(folder, ("idefics2",))
        network = load_network(Idefics2ForSequenceClassification, folder, config.dtype)
        tokenizer = load_reader(folder)
        try:
            # The PIL processor by name: others resize differently, and what is installed decides the automatic choice.
            images: Any = Idefics2ImageProcessorPil.from_pretrained(
                folder, do_image_splitting=False, local_files_only=True
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder}: its image processor cannot be loaded ({error})") from error
        latents = network.config.perceiver_config.resampler_n_latents
        self._processor: Any = Idefics2Processor(images, tokenizer, image_seq_len=latents)
        known = network.config.text_config.vocab_size
        if self._processor.image_token_id != network.config.image_token_id or len(tokenizer) > known:
            raise InputError(
                f"{folder}: tokenizer and network do not belong together (the image token is "
                f"{self._processor.image_token_id} for one and {network.config.image_token_id} for the other; "
                f"{len(tokenizer)} tokens for {known} embeddings)"
            )
        self._longest = network.config.text_config.max_position_embeddings
        self._dtype = network.dtype
        self._network = self._place(network)

    def sample(self, clip: Clip) -> Clip:
        """All frames of a short clip, else `max_frames` spread over it."""
        return clip if len(clip.frames) <= self._max_frames else sample_frames(clip, self._max_frames)

    def _read(self, clip: Clip, prompt: str) -> Row:
        import torch
        from PIL import Image

        tokenizer = self._processor.tokenizer
        text = plain(prompt, tokenizer)
        query = self._template.substitute(prompt=text) + "<image> " * len(clip.frames)
        frames = [Image.fromarray(frame) for frame in clip.frames]
        read = self._processor(text=[query], images=[frames], return_tensors="pt")
        ids = read["input_ids"][0]
        # Padding follows from the prompt's own length, not from the longest in the batch; most prompts get the same.
        padding = -int((ids != self._processor.image_token_id).sum()) % TEXT_STEP
        if len(ids) + padding > self._longest:
            raise ScoreError(
                f"prompt {prompt!r:.80} and {len(frames)} frames are {len(ids)} tokens; the model reads {self._longest}"
            )
        return {
            "input_ids": torch.nn.functional.pad(ids, (0, padding), value=tokenizer.pad_token_id or 0),
            "attention_mask": torch.nn.functional.pad(torch.ones_like(ids), (0, padding)),
            "pixel_values": read["pixel_values"][0].to(self._dtype),
            "pixel_attention_mask": read["pixel_attention_mask"][0].bool(),
        }

    def _forward(self, batch: Row) -> "torch.Tensor":
        return self._network(**batch)
