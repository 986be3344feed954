"""Operators: one small module a kind. A new kind is a module here and a case in `load_operator`."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from promptavideo.errors import require
from promptavideo.hosted import read_key
from promptavideo.operators.base import Operator
from promptavideo.operators.chat import ChatConfig, ChatOperator
from promptavideo.operators.recombine import RecombineConfig, RecombineOperator

OperatorConfig = Annotated[RecombineConfig | ChatConfig, Field(discriminator="kind")]
"""The configuration of any operator, told apart by `kind`."""

__all__ = ["Operator", "OperatorConfig", "check_operator", "load_operator"]


def load_operator(config: OperatorConfig, name: str, store: Path | None) -> Operator:
    """Make the operator of a configuration entry.

    Args:
        config: The entry.
        name: Its name.
        store: The folder that keeps what was paid for; an operator without costs needs none.

    Raises:
        InputError: It cannot be asked from here, e.g. because its key is missing.
    """
    match config:
        case RecombineConfig():
            return RecombineOperator(config)
        case ChatConfig():
            return ChatOperator(config, name, require(store, f"operators.{name}: a chat operator needs a store"))


def check_operator(config: OperatorConfig, name: str) -> None:
    """Check that an operator can be asked from here, without asking it.

    Raises:
        InputError: Its key is missing.
    """
    if isinstance(config, ChatConfig):
        read_key(config.key_variable, config.base_url, f"operators.{name}")
        config.read_headers(f"operators.{name}")
