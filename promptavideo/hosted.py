"""What all models behind an API share: the key, the address, and what their answers mean."""

import email.utils
import json
import math
import os
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import Field

from promptavideo.errors import InputError
from promptavideo.settings import Section
from promptavideo.text import clean

if TYPE_CHECKING:
    from openai import APIStatusError

_QUOTA = {
    "insufficient_quota",
    "billing_hard_limit_reached",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "project_spend_limit_exceeded",
    "1113",  # BigModel: the account is in arrears
}
"""Codes of a 429 that waiting does not cure."""

_UNKNOWN_MODEL = {"model_not_found", "1211"}
_FILTERED = {
    "content_filter",
    "content_policy_violation",
    "moderation_blocked",
    "sentinel_block",
    "1301",  # BigModel
    "data_inspection_failed",  # DashScope
    "datainspectionfailed",
    "responsibleaipolicyviolation",  # Azure
    "invalid_prompt",  # OpenAI's reasoning models
}
_FILTERED_WORDS = re.compile(
    r"content (?:management )?polic|content[ _-]filter|inappropriate content|sensitive content|moderation|"
    r"usage polic|safety (?:system|filter|reasons)|flagged as|prohibited content|policy violation",
    re.IGNORECASE,
)
"""How providers say that a filter refused a request, where they have no code for it."""

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")

NO_KEY = "EMPTY"
"""What is customarily given to servers, such as vLLM, that ask for a key and take any."""

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
    if key == NO_KEY:
        return None
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


class Retries(Section):
    """What happens after a failure that may pass: too many requests, a server's error, a time-out."""

    attempts: int = Field(default=6, ge=1)
    """How often one request is asked in all."""
    first_wait_s: float = Field(default=2.0, ge=0)
    """Before the second attempt; doubles with each further one. The real wait is drawn from its upper half."""
    longest_wait_s: float = Field(default=60.0, ge=0)
    """Bound on that wait."""
    longest_asked_wait_s: float = Field(default=300.0, ge=0)
    """An endpoint that asks to wait (`retry-after`) is obeyed up to this; when it asks for more, the run stops."""

    def wait_s(self, attempt: int, failure: "NoAnswerError") -> float | None:
        """Seconds to wait after a failed attempt, counted from 0; None if the endpoint asks to wait for too long."""
        asked = failure.wait_s or 0.0
        wait = min(self.first_wait_s * 2**attempt, self.longest_wait_s) * random.uniform(0.5, 1)
        return None if asked > self.longest_asked_wait_s else max(asked, wait)


class NoAnswerError(Exception):
    """A failure that may pass: too many requests, a server's error, a time-out, a broken body."""

    def __init__(self, reason: str, wait_s: float | None = None, charged: bool = False) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
        """How long the endpoint asks to wait."""
        self.charged = charged
        """Whether the endpoint may have worked for it, and charge."""


class FilteredError(Exception):
    """The endpoint's content filter refused the request."""


class RejectedError(InputError):
    """The endpoint does not accept this request; another one may fare better, unless a setting is at fault."""


@dataclass(frozen=True)
class Endpoint:
    """A model behind an API, as messages name it. The key shows up in nothing that it gives back."""

    entry: str
    """The configuration entry, e.g. `operators.gpt-4o`."""
    base_url: str
    model: str
    key: str | None = field(repr=False)
    """The secret; None for an endpoint without one."""
    timeout_s: float
    """Limit of one request, from its start to the last byte of the answer."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Further values that must show up nowhere, such as headers'."""

    def hide(self, text: str) -> str:
        """`text` that can be encoded, with the key and other secrets blacked out."""
        text = text.encode("utf-8", "replace").decode("utf-8")
        for secret in (self.key, *self.secrets):
            text = text.replace(secret, "***") if secret else text
        return text

    def safe(self, text: str) -> str:
        """Text of the endpoint's, fit for a message: one line, short, without the key."""
        text = clean(self.hide(text))
        return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."

    def explain(self, error: Exception) -> Exception:
        """What to raise for what the client raised; anything unforeseen is returned as it is.

        A NoAnswerError may pass, a FilteredError is about one text and a RejectedError may be, any other InputError
        stays: the key, the model, no credit.
        """
        from httpx2 import ConnectError, ConnectTimeout
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        if isinstance(error, NoAnswerError):
            return error
        charged = not isinstance(error.__cause__, ConnectError | ConnectTimeout)
        if isinstance(error, TimeoutError | APITimeoutError):
            return NoAnswerError(f"no answer within {self.timeout_s:g} s", charged=charged)
        if isinstance(error, APIStatusError):
            return self._explain_status(error)
        if isinstance(error, APIConnectionError):
            cause = error.__cause__
            return NoAnswerError(self.safe(f"no connection ({type(cause).__name__}: {cause})"), charged=charged)
        if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
            return NoAnswerError("the answer is no JSON", charged=True)
        return error

    def _explain_status(self, error: "APIStatusError") -> Exception:
        status, codes = error.status_code, {str(error.code), str(error.type)}
        said = self.safe(f"{status}: {_message(error)}")
        if status == 402 or codes & _QUOTA:
            return InputError(f"{self.entry}: the account at {self.base_url} has no credit left ({said})")
        if status in (408, 409, 429) or status >= 500:
            return NoAnswerError(said, _retry_after(error.response.headers))
        if is_filtered(*codes) or (status in (400, 403, 422) and _FILTERED_WORDS.search(said)):
            return FilteredError(f"refused by the content filter ({said})")
        if status in (401, 403):
            return InputError(
                f"{self.entry}.key_variable: {self.base_url} does not accept the key for {self.model} ({said})"
            )
        if status == 404 or codes & _UNKNOWN_MODEL:
            return InputError(
                f"{self.entry}.model: {self.base_url} does not know {self.model} ({said}); check model and base_url"
            )
        said = f"{self.entry}: {self.base_url} does not accept the request ({said}); check the settings"
        return RejectedError(said)


def hosted_model(model: str, base_url: str) -> str:
    """A hosted model as tables name it."""
    return f"{model} at {base_url}"


def is_filtered(*codes: str) -> bool:
    """Whether an error with these codes is a content filter's."""
    return bool(_FILTERED.intersection(code.lower() for code in codes))


def _message(error: "APIStatusError") -> str:
    """What an endpoint says about a failure: the message of its JSON, or else its whole text."""
    if isinstance(error.body, dict):
        return str(error.body.get("message") or error.body)
    return str(error.body or "no reason given")


def _retry_after(headers: Mapping[str, str]) -> float | None:
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
