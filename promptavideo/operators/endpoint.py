"""One request to an OpenAI-compatible chat endpoint, and what its failures mean."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from promptavideo import hosted
from promptavideo.errors import InputError

if TYPE_CHECKING:
    from openai import APIStatusError

_UNKNOWN_MODEL = {"model_not_found", "1211"}
_FILTERED = {"content_filter", "content_policy_violation", "1301"}
_FILTERED_FINISH = {"content_filter", "sensitive"}
_BROKEN_FINISH = {"network_error"}


@dataclass(frozen=True)
class Reply:
    """What an endpoint answered; the text may be cut off, empty or anything else."""

    text: str
    fault: str
    """Why the text is not a whole answer, or ""."""
    model: str
    """The model that answered, as the endpoint names it."""
    prompt_tokens: int | None
    """None if the endpoint does not tell."""
    completion_tokens: int | None


class NoAnswerError(Exception):
    """A failure that may pass: too many requests, a server's error, a time-out, a broken body."""

    def __init__(self, reason: str, wait_s: float | None = None, charged: bool = False) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
        """How long the endpoint asks to wait."""
        self.charged = charged
        """Whether the endpoint may have worked for it, and charge."""


class Endpoint:
    """A client of one model; used as a context, on one event loop. The key shows up in nothing that it gives back."""

    def __init__(self, name: str, base_url: str, model: str, key: str | None, timeout_s: float) -> None:
        """Prepare a client.

        Args:
            name: The configuration entry, e.g. `operators.gpt-4o`, for messages.
            base_url: The endpoint's address, up to what comes before `/chat/completions`.
            model: The model's name there.
            key: The secret; None for an endpoint without one.
            timeout_s: Limit of one request, from its start to the last byte of the answer.
        """
        from openai import AsyncOpenAI

        self._name, self._base_url, self._model, self._key, self._timeout_s = name, base_url, model, key, timeout_s
        # Retries are this project's own: the client's are not in the ledger and know no pacing.
        self._client = AsyncOpenAI(api_key=key or "none", base_url=base_url, timeout=timeout_s, max_retries=0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.close()

    async def ask(self, instruction: str, settings: Mapping[str, Any]) -> Reply:
        """Ask once.

        Args:
            instruction: The user's message.
            settings: Further fields of the request's body.

        Raises:
            NoAnswerError: It failed in a way that may pass.
            InputError: It failed in a way that does not: the key, the model, a setting, no credit.
        """
        # Errors are raised outside the `except` clauses: what the client raises holds the request with its headers.
        failure: Exception
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._client.chat.completions.with_raw_response.create(
                    model=self._model, messages=[{"role": "user", "content": instruction}], extra_body=settings
                )
            return self._read(response.http_response.json())
        except Exception as error:
            failure = self._explain(error)
        if isinstance(failure, _FilteredError):
            return Reply("", str(failure), self._model, 0, 0)
        raise failure

    def _explain(self, error: Exception) -> Exception:
        """What to raise for what the client raised; anything unforeseen is returned as it is."""
        from httpx2 import ConnectError, ConnectTimeout
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        if isinstance(error, NoAnswerError):
            return error
        charged = not isinstance(error.__cause__, ConnectError | ConnectTimeout)
        if isinstance(error, TimeoutError | APITimeoutError):
            return NoAnswerError(f"no answer within {self._timeout_s:g} s", charged=charged)
        if isinstance(error, APIStatusError):
            return self._explain_status(error)
        if isinstance(error, APIConnectionError):
            cause = error.__cause__
            return NoAnswerError(self._safe(f"no connection ({type(cause).__name__}: {cause})"), charged=charged)
        if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
            return NoAnswerError("the answer is no JSON", charged=True)
        return error

    def _explain_status(self, error: "APIStatusError") -> Exception:
        status, codes = error.status_code, {str(error.code), str(error.type)}
        said = self._safe(f"{status}: {hosted.message(error)}")
        if status == 402 or codes & hosted.QUOTA:
            return InputError(f"{self._name}: the account at {self._base_url} has no credit left ({said})")
        if status in (408, 409, 429) or status >= 500:
            return NoAnswerError(said, hosted.retry_after(error.response.headers))
        if codes & _FILTERED:
            return _FilteredError(f"refused by the content filter ({said})")
        if status in (401, 403):
            return InputError(
                f"{self._name}.key_variable: {self._base_url} does not accept the key for {self._model} ({said})"
            )
        if status == 404 or codes & _UNKNOWN_MODEL:
            return InputError(
                f"{self._name}.model: {self._base_url} does not know {self._model} ({said}); check model and base_url"
            )
        return InputError(f"{self._name}: {self._base_url} does not accept the request ({said}); check the settings")

    def _read(self, body: object) -> Reply:
        try:
            choice = body["choices"][0]  # type: ignore[index]
            message, finish = choice["message"], choice.get("finish_reason")
            text, refusal = message.get("content") or "", message.get("refusal")
        except (TypeError, KeyError, IndexError, AttributeError):
            text = finish = refusal = None
        if not isinstance(text, str) or finish in _BROKEN_FINISH:
            raise NoAnswerError(self._safe(f"the answer is no chat completion: {body!r}"), charged=True)
        text = hosted.hide(text, self._key)
        if finish in _FILTERED_FINISH:
            text, fault = "", "refused by the content filter"
        elif finish == "length":
            fault = "cut off at max_tokens"
        elif refusal:
            text, fault = "", f"refused: {self._safe(str(refusal))}"
        else:
            fault = "" if text.strip() else "empty"
        assert isinstance(body, dict)
        usage = body.get("usage")
        return Reply(
            text=text,
            fault=fault,
            model=self._safe(str(body.get("model"))),
            prompt_tokens=_count(usage, "prompt_tokens"),
            completion_tokens=_count(usage, "completion_tokens"),
        )

    def _safe(self, text: str) -> str:
        return hosted.safe(text, self._key)


class _FilteredError(Exception):
    """The endpoint's content filter refused the request."""


def _count(usage: object, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value >= 0 else None
