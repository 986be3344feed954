"""Rewards: one small module a kind. A new kind is a module here, a configuration class and a line in `load_rewards`."""

from collections.abc import Mapping
from typing import Literal

from promptavideo.rewards.base import Reward
from promptavideo.settings import Section

__all__ = ["Reward", "RewardConfig", "load_rewards"]


class PixelsConfig(Section):
    """The laptop's reward: all seven dimensions measured from pixels."""

    kind: Literal["pixels"]


RewardConfig = PixelsConfig
"""The configuration of any reward, told apart by `kind`."""

DIMENSIONS_OF = {"pixels": ("VQ", "TC", "DD", "TVA", "FC", "AES", "MPS")}
"""What each kind fills, known without loading it."""


def load_rewards(configs: Mapping[str, RewardConfig]) -> dict[str, Reward]:
    """Load every configured reward; the keys identify each with its settings, for caching."""
    from promptavideo.rewards.pixels import VERSION, PixelReward

    return {f"{name} {VERSION} {config.model_dump_json()}": PixelReward() for name, config in configs.items()}
