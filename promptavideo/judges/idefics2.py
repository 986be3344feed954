"""VideoScore's network: Idefics2 with a linear head, under the key names of its published weights."""

from typing import Any

import torch
from torch import nn
from transformers import Idefics2Config, Idefics2Model, Idefics2PreTrainedModel

OUTPUTS = 5
"""Scores that the head gives."""


class Idefics2ForSequenceClassification(Idefics2PreTrainedModel):
    """Reads frames and text, and gives raw scores from the state of the last token.

    Keys: `model.vision_model.*`, `model.connector.*`, `model.text_model.*`, `score.weight`, `score.bias`.
    """

    def __init__(self, config: Idefics2Config) -> None:
        super().__init__(config)
        self.model = Idefics2Model(config)
        text: Any = config.text_config
        self.score = nn.Linear(text.hidden_size, OUTPUTS)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        pixel_values: torch.Tensor,
        pixel_attention_mask: torch.Tensor,
    ) -> torch.Tensor:
        """Scores [B, 5].

        Args:
            input_ids: [B, L], padded on the right: no token sees the padding, so that attention is plainly causal and
                takes its fast path.
            attention_mask: [B, L], 1 for tokens and 0 for padding; tells which token is the last.
            pixel_values: [B, T, 3, H, W].
            pixel_attention_mask: [B, T, H, W], 1 for pixels of a frame.
        """
        states = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            pixel_attention_mask=pixel_attention_mask,
            use_cache=False,
        ).last_hidden_state
        last = attention_mask.sum(dim=1) - 1
        return self.score(states[torch.arange(len(states), device=states.device), last])
