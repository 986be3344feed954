"""AES: the first LAION aesthetic predictor, one linear layer over the image features of OpenAI's CLIP ViT-L/14."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from promptavideo.dtypes import Dtype
from promptavideo.errors import InputError
from promptavideo.judges.clip import clip_pixels
from promptavideo.judges.loading import check_type, load_network
from promptavideo.judges.neural import NeuralConfig, NeuralJudge, Row, sample_frames
from promptavideo.metrics import AES, Metric
from promptavideo.settings import Ref
from promptavideo.video import Clip

if TYPE_CHECKING:
    import torch


class AestheticConfig(NeuralConfig):
    """LAION aesthetic v1."""

    METRICS: ClassVar[tuple[Metric, ...]] = (AES,)

    kind: Literal["aesthetic"]
    model: Annotated[str, Ref("models")]
    """Name in the registry: openai/clip-vit-large-patch14. No other CLIP will do, the head was trained on this one."""
    head: Annotated[str, Ref("models")]
    """Name in the registry: LAION's `sa_0_4_vit_l_14_linear.pth`, a model of kind `url`."""
    dtype: Dtype = "float32"
    """As the paper's scripts run it."""
    frames: int = Field(4, ge=1)
    """Spread over the clip; their scores are averaged."""

    def load(self, folders: Mapping[str, Path]) -> "Aesthetic":
        """Load the image encoder and the head."""
        return Aesthetic(self, folders["model"], folders["head"])


class Aesthetic(NeuralJudge):
    """Mean of the frames' scores, about 1..10."""

    def __init__(self, config: AestheticConfig, folder: Path, head: Path) -> None:
        """Load the image encoder and the head.

        Args:
            config: Its entry.
            folder: The fetched CLIP.
            head: The folder of the fetched head.

        Raises:
            InputError: A folder holds another model, or a required GPU is missing.
        """
        from safetensors.torch import load_file
        from torch import nn
        from transformers import CLIPVisionModelWithProjection

        super().__init__(config, "aesthetic")
        check_type(folder, ("clip", "clip_vision_model"))
        network = load_network(
            CLIPVisionModelWithProjection,
            folder,
            config.dtype,
            ignored=("text_model.", "text_projection.", "logit_scale", "vision_model.embeddings.position_ids"),
        )
        if network.config.hidden_act != "quick_gelu":
            raise InputError(
                f"{folder}: is not OpenAI's CLIP, whose activation is quick_gelu (it has {network.config.hidden_act}); "
                "the aesthetic head was trained on that one"
            )
        layer = nn.Linear(network.config.projection_dim, 1)
        try:
            layer.load_state_dict(load_file(head / "model.safetensors"))
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"{head}: is no linear head for the {network.config.projection_dim} features of {folder} ({error})"
            ) from error
        self._frames, self._size, self._dtype = config.frames, network.config.image_size, network.dtype
        self._network, self._head = self._place(network), self._place(layer.eval())

    def sample(self, clip: Clip) -> Clip:
        """The frames to average over."""
        return sample_frames(clip, self._frames)

    def _read(self, clip: Clip, prompt: str) -> Row:
        return {"pixel_values": clip_pixels(clip.frames, self._size).to(self._dtype)}

    def _forward(self, batch: Row) -> "torch.Tensor":
        pixels = batch["pixel_values"]
        features = self._network(pixel_values=pixels.flatten(0, 1)).image_embeds.float()
        scores = self._head(features / features.norm(dim=-1, keepdim=True))
        return scores.view(len(pixels), self._frames).mean(dim=1, keepdim=True)
