"""Operators: one small module a kind. A new kind is a module here and a line in `load_operator`."""

from promptavideo.operators.base import Operator
from promptavideo.operators.recombine import RecombineConfig, RecombineOperator

OperatorConfig = RecombineConfig
"""The configuration of any operator, told apart by `kind`."""

__all__ = ["Operator", "OperatorConfig", "load_operator"]


def load_operator(config: OperatorConfig) -> Operator:
    """Make the operator of a configuration entry."""
    return RecombineOperator(config)
