"""What all models behind an API share: the key, the address, and what their answers mean."""

import email.utils
import math
import os
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from promptavideo.errors import InputError
from promptavideo.text import clean

if TYPE_CHECKING:
    from openai import APIStatusError

QUOTA = {
    "insufficient_quota",
    "billing_hard_limit_reached",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "project_spend_limit_exceeded",
    "1113",  # BigModel: the account is in arrears
}
"""Codes of a 429 that waiting does not cure."""

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")

_SHOWN = 300
"""Characters shown of what an endpoint says is wrong."""


def check_endpoint(base_url: str, key_variable: str | None) -> None:
    """Check that a section names its key and does not hold one: settings are shown in messages, logs and results.

    Raises:
        ValueError: It does, or the address is none.
    """
    if key_variable is not None and not _VARIABLE.fullmatch(key_variable):
        raise ValueError(
            "key_variable must be the name of an environment variable (A-Z, 0-9 and _), not the key itself"
        )
    address = urlsplit(base_url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ValueError("base_url must be an http or https address")
    if address.username or address.password or address.query or address.fragment:
        raise ValueError("base_url must hold no user, password or query: settings are shown in logs")


def read_key(key_variable: str | None, base_url: str, entry: str) -> str | None:
    """The key from the environment; None if the endpoint wants none.

    Args:
        key_variable: Name of the environment variable.
        base_url: The endpoint, for messages.
        entry: The configuration entry, e.g. `operators.gpt-4o`, for messages.

    Raises:
        InputError: The variable is not set, or what it holds cannot be a key.
    """
    if key_variable is None:
        return None
    key = os.environ.get(key_variable, "")
    if not key:
        raise InputError(
            f"{entry}.key_variable: the environment variable {key_variable} is not set; put the key of {base_url} "
            f"there, e.g. with `read -rs {key_variable} && export {key_variable}`"
        )
    # Without quotes and backslashes, a key looks the same wherever a message shows it, and can be blacked out.
    if not re.fullmatch(r"[!#-&(-\[\]-~]{8,}", key):
        raise InputError(
            f"{entry}.key_variable: what {key_variable} holds is no key: a key has 8 characters or more, all of ASCII, "
            "and no spaces, quotes or line ends; set key_variable: null if the endpoint wants none"
        )
    return key


def hide(text: str, key: str | None) -> str:
    """`text` that can be encoded, with the key blacked out."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text.replace(key, "***") if key else text


def safe(text: str, key: str | None) -> str:
    """Text of an endpoint's, fit for a message: one line, short, without the key."""
    text = clean(hide(text, key))
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def message(error: "APIStatusError") -> str:
    """What an endpoint says about a failure: the message of its JSON, or else its whole text."""
    if isinstance(error.body, dict):
        return str(error.body.get("message") or error.body)
    return str(error.body or "no reason given")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `retry-after` (a number or a date); None if neither says."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        return max(seconds, 0.0) if math.isfinite(seconds) else None
    try:
        return max(email.utils.parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time(), 0.0)
    except (KeyError, ValueError, OverflowError):
        return None
