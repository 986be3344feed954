"""MPS: the Multi-dimensional Preference Score, how much people would prefer an image for a prompt."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from promptavideo.dtypes import Dtype
from promptavideo.errors import InputError
from promptavideo.judges.clip import clip_pixels
from promptavideo.judges.loading import check_type, load_network, load_over_clip, load_reader, padded_ids, plain
from promptavideo.judges.neural import NeuralConfig, NeuralJudge, Row, sample_frames
from promptavideo.metrics import MPS, Metric
from promptavideo.settings import Ref
from promptavideo.video import Clip

if TYPE_CHECKING:
    import torch

CONDITION = (
    "light, color, clarity, tone, style, ambiance, artistry, shape, face, hair, hands, limbs, structure, instance, "
    "texture, quantity, attributes, position, number, location, word, things."
)
"""The aspects of preference that the overall score was trained with (the published condition, to the letter)."""


class MpsConfig(NeuralConfig):
    """MPS v1."""

    METRICS: ClassVar[tuple[Metric, ...]] = (MPS,)

    kind: Literal["mps"]
    model: Annotated[str, Ref("models")]
    """Name in the registry: RE-N-Y/mpsv1."""
    base: Annotated[str, Ref("models")]
    """Name in the registry: laion/CLIP-ViT-H-14-laion2B-s32B-b79K, whose configuration and tokenizer MPS uses; with
    `weights: false` there, since MPS brings its own."""
    dtype: Dtype = "float32"
    """The authors' code computes in bfloat16."""
    frames: int = Field(4, ge=1)
    """Spread over the clip; their scores are averaged."""
    threshold: float = Field(0.3, ge=0, lt=1)
    """Words of a prompt whose nearness to the condition is not over this part of the largest are not looked at: 0.3 in
    the paper's scripts, 0.01 in the package imscore."""

    def load(self, folders: Mapping[str, Path]) -> "Mps":
        """Load the network."""
        return Mps(self, folders["model"], folders["base"])


class Mps(NeuralJudge):
    """Mean of the frames' scores, about 0..20."""

    def __init__(self, config: MpsConfig, folder: Path, base: Path) -> None:
        """Load the network.

        Args:
            config: Its entry.
            folder: The fetched weights.
            base: The folder of the CLIP that they were trained from.

        Raises:
            InputError: A folder holds another model, or a required GPU is missing.
        """
        import torch

        super().__init__(config, "MPS")
        check_type(base, ("clip",))
        self._tokenizer = load_reader(base)
        network = _load(folder, base, config.dtype)
        self._frames, self._threshold = config.frames, config.threshold
        self._length = network.config.text_config.max_position_embeddings
        self._size = network.config.vision_config.image_size
        self._dtype = network.dtype
        self._network = self._place(network)
        torch.set_num_threads(config.threads)
        with torch.inference_mode():
            self._condition = self._network.words(self._ids(CONDITION)[None].to(self._device))

    def sample(self, clip: Clip) -> Clip:
        """The frames to average over."""
        return sample_frames(clip, self._frames)

    def _ids(self, text: str) -> "torch.Tensor":
        return padded_ids(text, self._tokenizer, self._length)

    def _read(self, clip: Clip, prompt: str) -> Row:
        return {
            "input_ids": self._ids(plain(prompt, self._tokenizer)),
            "pixel_values": clip_pixels(clip.frames, self._size).to(self._dtype),
        }

    def _forward(self, batch: Row) -> "torch.Tensor":
        scores = self._network(**batch, condition=self._condition, threshold=self._threshold)
        return scores.mean(dim=1, keepdim=True)


def _load(folder: Path, base: Path, dtype: str) -> Any:
    """The network, from published weights; its sizes come from the base's configuration and the weights' shapes."""
    from promptavideo.judges.mps_network import MpsNetwork, shape_of

    config, every = load_over_clip(folder, base, "mps.", "MPS")
    # Rotary speeds and position ids are constants that older versions saved.
    weights = {key: value for key, value in every.items() if not key.endswith((".inv_freq", ".position_ids"))}
    try:
        shape: dict[str, Any] = shape_of(weights)
    except (ValueError, KeyError) as error:
        raise InputError(f"{folder}: holds no weights of MPS for the CLIP in {base} ({error})") from error
    return load_network(MpsNetwork, None, dtype, config=config, state_dict=weights, **shape)
