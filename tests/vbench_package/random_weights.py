"""Make random checkpoints of the classes that VBench loads, in its environment; small where it takes any size.

python random_weights.py FOLDER NAME...
"""

import sys
import zipfile
from pathlib import Path

import torch
import vbench
from clip.model import CLIP
from easydict import EasyDict
from omegaconf import OmegaConf
from pyiqa.archs.musiq_arch import MUSIQ
from vbench.third_party.amt.utils.build_utils import build_from_cfg
from vbench.third_party.RAFT.core.raft import RAFT


def main(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        torch.manual_seed(0)
        MAKERS[name](folder)


def raft(folder: Path) -> None:
    network = RAFT(EasyDict(small=False, mixed_precision=False, alternate_corr=False))
    weights = {f"module.{name}": value for name, value in network.state_dict().items()}
    save(weights, folder / "raft-things.pth")
    with zipfile.ZipFile(folder / "raft-things.zip", "w") as archive:
        archive.write(folder / "raft-things.pth", "models/raft-things.pth")


def amt(folder: Path) -> None:
    config = OmegaConf.load(Path(vbench.__file__).parent / "third_party/amt/cfgs/AMT-S.yaml")
    save({"state_dict": build_from_cfg(config.network).state_dict()}, folder / "amt-s.pth")


def clip(embedding: int, patch: int) -> torch.jit.ScriptModule:
    """A CLIP of one narrow layer, traced as the published ones are: its loader reads the sizes off the weights."""
    model = CLIP(
        embed_dim=embedding, image_resolution=224, vision_layers=1, vision_width=64, vision_patch_size=patch,
        context_length=77, vocab_size=49408, transformer_width=64, transformer_heads=1, transformer_layers=1,
    ).eval()  # fmt: skip
    return torch.jit.trace(model, (torch.zeros(1, 3, 224, 224), torch.ones(1, 77, dtype=torch.int64)))


def save(state: object, path: Path) -> None:
    torch.save(state, path)


MAKERS = {
    "clip-vit-b-32": lambda folder: clip(512, 32).save(folder / "clip-vit-b-32.pt"),
    "clip-vit-l-14": lambda folder: clip(768, 14).save(folder / "clip-vit-l-14.pt"),
    "laion-aesthetic": lambda folder: save(torch.nn.Linear(768, 1).state_dict(), folder / "laion-aesthetic.pth"),
    "musiq-spaq": lambda folder: save(MUSIQ(pretrained=False).state_dict(), folder / "musiq-spaq.pth"),
    "amt-s": amt,
    "raft-things": raft,
}


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
