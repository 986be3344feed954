"""One small adapter in place of a booster's chain, to ship with a repository."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptavideo.boosters.load import CARD, read_chain
from promptavideo.errors import InputError
from promptavideo.files import atomic_path, sha256, unreadable, write_text

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""The files of an adapter, as peft names them."""

A, B = ".lora_A.weight", ".lora_B.weight"


@dataclass(frozen=True)
class Compressed:
    """An adapter in place of a chain."""

    tensors: "Mapping[str, torch.Tensor]"
    """By peft's names, float16."""
    lost: float
    """The share of what the chain adds to the weights that is not in it: the ratio of Frobenius norms, 0-1."""


def compress(adapters: Sequence[Path], rank: int) -> Compressed:
    """The adapter of a rank that is nearest to the sum of a chain's adapters.

    The sum of the adapters' products has at most the sum of their ranks; its best approximation in the Frobenius norm
    is its truncated singular value decomposition (Eckart and Young), which QR decompositions of the factors give
    without the full matrix.

    Args:
        adapters: The folders of a chain's LoRA adapters.
        rank: Of the result.

    Raises:
        InputError: An adapter cannot be read, or is no plain LoRA adapter.
    """
    import torch

    layers: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    for folder in adapters:
        for name, factors in _factors(folder).items():
            layers.setdefault(name, []).append(factors)
    tensors, lost, whole = {}, 0.0, 0.0
    for name in sorted(layers):
        left = torch.cat([b for b, _ in layers[name]], dim=1).double()
        right = torch.cat([a for _, a in layers[name]], dim=0).double()
        basis, inner = torch.linalg.qr(left)
        other, outer = torch.linalg.qr(right.T)
        u, values, v = torch.linalg.svd(inner @ outer.T)
        kept = values[:rank]
        lost += float((values[rank:] ** 2).sum())
        whole += float((values**2).sum())
        root, short = kept.sqrt(), rank - len(kept)  # an adapter has one rank, also in layers that are smaller
        outward = basis @ u[:, : len(kept)] * root
        inward = root[:, None] * (v[: len(kept)] @ other.T)
        tensors[name + B] = torch.nn.functional.pad(outward, (0, short)).half().contiguous()
        tensors[name + A] = torch.nn.functional.pad(inward, (0, 0, 0, short)).half().contiguous()
    return Compressed(tensors, (lost / whole) ** 0.5 if whole else 0.0)


def _factors(folder: Path) -> dict[str, Any]:
    """The factors B [out, r] and A [r, in] of each layer of an adapter, by the layer's name; the scale is in B.

    Raises:
        InputError: It cannot be read, or is no plain LoRA adapter.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        said = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise unreadable(folder / WEIGHTS, "LoRA adapter", error) from error
    special = [key for key in ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern", "lora_bias") if said.get(key)]
    if said.get("peft_type") != "LORA" or special:
        raise InputError(f"{folder}: is no plain LoRA adapter ({', '.join(special) or said.get('peft_type')})")
    scale = said["lora_alpha"] / said["r"]
    names = [name.removesuffix(A) for name in tensors if name.endswith(A)]
    return {name: (scale * tensors[name + B].float(), tensors[name + A].float()) for name in names}


def write_booster(base: Path, booster: Path, folder: Path, rank: int) -> float:
    """Write a booster's folder that holds its chain as one adapter; it appears whole, its card last.

    Args:
        base: The base model's folder.
        booster: The booster's folder.
        folder: Target.
        rank: Of the adapter.

    Returns:
        What `Compressed.lost` says.

    Raises:
        InputError: As `compress`, and where the chain cannot be read.
    """
    from safetensors.torch import save_file

    adapters = read_chain(base, booster).adapters
    made = compress(adapters, rank)
    config = json.loads((adapters[-1] / CONFIG).read_text(encoding="utf-8"))
    config |= {"r": rank, "lora_alpha": rank, "lora_dropout": 0.0}
    write_text(folder / "adapter" / CONFIG, json.dumps(config, indent=2, sort_keys=True) + "\n")
    with atomic_path(folder / "adapter" / WEIGHTS) as partial:
        save_file(dict(made.tensors), partial)
    card = json.loads((booster / CARD).read_text(encoding="utf-8"))
    chain = [*card["adapters"], card["adapter"]]
    card |= {
        "adapters": [],
        "previous": None,
        "adapter": sha256(folder / "adapter" / WEIGHTS),
        "compressed": {"chain": chain, "rank": rank, "lost": round(made.lost, 4)},
    }
    write_text(folder / CARD, json.dumps(card, indent=2) + "\n")
    return made.lost
