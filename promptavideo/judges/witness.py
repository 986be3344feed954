"""The laptop's held-out judge: a small network, trained on true renders of the synthetic world, names what clips show.

Nothing selects or trains on it. It shares with the pixel rewards the reading of the prompt alone: they measure by
hand-made rules, which a booster may learn to please; this is a learned impression of the whole clip.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from promptavideo.judges.loading import check_type, load_network
from promptavideo.judges.neural import NeuralConfig, NeuralJudge, Row, sample_frames
from promptavideo.metrics import Metric
from promptavideo.settings import Planning, Ref
from promptavideo.video import Clip

if TYPE_CHECKING:
    import torch


class WitnessConfig(NeuralConfig):
    """The witness of the synthetic world."""

    METRICS: ClassVar[tuple[Metric, ...]] = (Metric("AGREE", 0.0, 1.0, 5.0), Metric("REAL", 0.0, 1.0, 5.0))
    MINIATURE: ClassVar[bool] = True

    kind: Literal["witness"]
    model: Annotated[str, Ref("models")]
    """Name in the registry: `resources/witness`, or what `snakemake train_witness` made."""
    dtype: Literal["float32"] = "float32"
    """Its weights are few: nothing else pays."""
    batch_size: Annotated[int, Planning()] = Field(16, ge=1)
    """Clips of one call; every call is padded to it, so that a score does not depend on its neighbours."""

    def load(self, folders: Mapping[str, Path]) -> "Witness":
        """Load the network."""
        return Witness(self, folders["model"])


class Witness(NeuralJudge):
    """AGREE: mean probability, 0..1, of what the prompt names; REAL: how true, 0..1, to the world's renders a clip is.

    A prompt that names nothing of the world gets `NEUTRAL_AGREEMENT`.
    """

    def __init__(self, config: WitnessConfig, folder: Path) -> None:
        """Load the network.

        Args:
            config: Its entry.
            folder: The fetched model.

        Raises:
            InputError: The folder holds another model, or a required GPU is missing.
        """
        from promptavideo.miniature.witness import WitnessNetwork

        super().__init__(config, "witness")
        check_type(folder, (WitnessNetwork.config_class.model_type,))
        self._network = self._place(load_network(WitnessNetwork, folder, config.dtype))

    def sample(self, clip: Clip) -> Clip:
        """As many frames as the world's clips have."""
        from promptavideo.miniature.world import FRAMES

        return sample_frames(clip, FRAMES)

    def _read(self, clip: Clip, prompt: str) -> Row:
        import cv2
        import torch

        from promptavideo.judges.pixels import parse_content
        from promptavideo.miniature.witness import LABELS
        from promptavideo.miniature.world import SIZE

        frames = [cv2.resize(frame, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for frame in clip.frames]
        asked = parse_content(prompt)
        named = [[label == getattr(asked, name) for label in labels] for name, labels in LABELS.items()]
        return {
            "clips": torch.from_numpy(np.stack(frames)).permute(3, 0, 1, 2).float() / 255,
            "named": torch.tensor([float(here) for labels in named for here in labels]),
        }

    def _forward(self, batch: Row) -> "torch.Tensor":
        import torch

        from promptavideo.judges.pixels import NEUTRAL_AGREEMENT
        from promptavideo.miniature.witness import parts

        found = parts(self._network(batch["clips"]))
        real = found.pop("real").sigmoid()
        chances = torch.cat([logits.softmax(dim=1) for logits in found.values()], dim=1)
        named = batch["named"]
        count = named.sum(dim=1)
        agree = torch.where(count > 0, (chances * named).sum(dim=1) / count.clamp(min=1), NEUTRAL_AGREEMENT)
        return torch.stack([agree, real], dim=1)
