"""HPS: the Human Preference Score v2.1, how well people would like an image for a prompt."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from promptavideo.dtypes import Dtype
from promptavideo.judges.clip import padded_pixels
from promptavideo.judges.loading import check_type, load_network, load_over_clip, load_reader, padded_ids, plain
from promptavideo.judges.neural import NeuralConfig, NeuralJudge, Row, sample_frames
from promptavideo.judges.open_clip import renamed
from promptavideo.metrics import HPS, Metric
from promptavideo.settings import Ref
from promptavideo.video import Clip

if TYPE_CHECKING:
    import torch


class HpsConfig(NeuralConfig):
    """HPS v2.1."""

    METRICS: ClassVar[tuple[Metric, ...]] = (HPS,)

    kind: Literal["hps"]
    model: Annotated[str, Ref("models")]
    """Name in the registry: RE-N-Y/hpsv21. The scores of v2.0 are on another scale."""
    base: Annotated[str, Ref("models")]
    """Name in the registry: laion/CLIP-ViT-H-14-laion2B-s32B-b79K, whose configuration and tokenizer HPS uses; with
    `weights: false` there, since HPS brings its own."""
    dtype: Dtype = "float32"
    """The authors' code computes in mixed precision on a GPU."""
    frames: int = Field(4, ge=1)
    """Spread over the clip; their scores are averaged. An image is one frame."""

    def load(self, folders: Mapping[str, Path]) -> "Hps":
        """Load the network."""
        return Hps(self, folders["model"], folders["base"])


class Hps(NeuralJudge):
    """Mean of the frames' scores: 100 times the cosine of image and prompt."""

    def __init__(self, config: HpsConfig, folder: Path, base: Path) -> None:
        """Load the network.

        Args:
            config: Its entry.
            folder: The fetched weights.
            base: The folder of the CLIP that they were trained from.

        Raises:
            InputError: A folder holds another model, or a required GPU is missing.
        """
        from transformers import CLIPModel

        super().__init__(config, "HPS")
        check_type(base, ("clip",))
        self._tokenizer = load_reader(base)
        shape, weights = load_over_clip(folder, base, "model.", "HPS")
        network = load_network(CLIPModel, None, config.dtype, config=shape, state_dict=renamed(weights))
        self._frames = config.frames
        self._length = network.config.text_config.max_position_embeddings
        self._size = network.config.vision_config.image_size
        self._dtype = network.dtype
        self._network = self._place(network)

    def sample(self, clip: Clip) -> Clip:
        """The frames to average over, each once."""
        return clip if len(clip.frames) <= self._frames else sample_frames(clip, self._frames)

    def _read(self, clip: Clip, prompt: str) -> Row:
        pixels = padded_pixels(clip.frames, self._size).to(self._dtype)
        return {
            "input_ids": padded_ids(plain(prompt, self._tokenizer), self._tokenizer, self._length),
            "pixel_values": pixels,
        }

    def _forward(self, batch: Row) -> "torch.Tensor":
        pixels = batch["pixel_values"]
        images = self._network.get_image_features(pixel_values=pixels.flatten(0, 1)).pooler_output.float()
        texts = self._network.get_text_features(input_ids=batch["input_ids"]).pooler_output.float()
        images, texts = (one / one.norm(dim=-1, keepdim=True) for one in (images, texts))
        cosines = images.view(len(pixels), -1, images.shape[-1]) @ texts[:, :, None]
        return 100 * cosines.mean(dim=1)
