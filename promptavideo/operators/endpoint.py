"""One request to an OpenAI-compatible chat endpoint, and what its failures mean."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from promptavideo.hosted import NO_KEY, Endpoint, FilteredError, NoAnswerError

_WHOLE_FINISH = {"stop", "end_turn", "eos", "eos_token"}
"""What endpoints call the end of an answer that is whole."""
_FILTERED_FINISH = {"content_filter", "sensitive", "safety", "prohibited_content"}
_BROKEN_FINISH = {"network_error"}


@dataclass(frozen=True)
class Reply:
    """What an endpoint answered; the text may be cut off, empty or anything else."""

    text: str
    fault: str
    """Why the text is not a whole answer, or ""."""
    refused: bool
    """Whether the fault is the prompt's, so that asking again is of no use."""
    model: str
    """The model that answered, as the endpoint names it."""
    prompt_tokens: int | None
    """None if the endpoint does not tell."""
    completion_tokens: int | None


class ChatEndpoint:
    """Asks one model, on one event loop. The key shows up in nothing that it gives back."""

    def __init__(self, at: Endpoint, headers: Mapping[str, str], query: Mapping[str, str], stream: bool) -> None:
        """Prepare a client.

        Args:
            at: The model; its `base_url` is what comes before `/chat/completions`.
            headers: Further headers.
            query: What each address ends with.
            stream: Whether to ask for the answer in pieces.
        """
        from openai import AsyncOpenAI

        self._at, self._stream = at, stream
        # Retries are this project's own: the client's are not in the ledger and know no pacing.
        self.client = AsyncOpenAI(
            api_key=at.key or NO_KEY,
            base_url=at.base_url,
            timeout=at.timeout_s,
            max_retries=0,
            default_headers=headers,
            default_query=query,
        )
        """To be used as a context, which closes its connections."""

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
            async with asyncio.timeout(self._at.timeout_s):
                messages: Any = [{"role": "user", "content": instruction}]
                if self._stream:
                    pieces = await self.client.chat.completions.create(
                        model=self._at.model, messages=messages, extra_body=settings, stream=True
                    )
                    return self._read(_joined([piece.model_dump() async for piece in pieces]))
                response = await self.client.chat.completions.with_raw_response.create(
                    model=self._at.model, messages=messages, extra_body=settings
                )
            return self._read(response.http_response.json())
        except Exception as error:
            failure = self._at.explain(error)
        if isinstance(failure, FilteredError):
            return Reply("", str(failure), True, self._at.model, 0, 0)
        raise failure

    def _read(self, body: object) -> Reply:
        if isinstance(body, dict) and body.get("choices") in (None, []) and "error" not in body:
            return self._reply(body, "", "the answer has no choices", refused=True)
        try:
            choice = body["choices"][0]  # type: ignore[index]
            message, finish = choice["message"], choice.get("finish_reason")
            text, refusal = _text(message.get("content")), message.get("refusal")
        except (TypeError, KeyError, IndexError, AttributeError):
            text = finish = refusal = None
        if not isinstance(text, str) or finish in _BROKEN_FINISH:
            raise NoAnswerError(self._at.safe(f"the answer is no chat completion: {body!r}"), charged=True)
        text = self._at.hide(text)
        how = str(finish).lower()
        if how in _FILTERED_FINISH:
            return self._reply(body, "", "refused by the content filter", refused=True)
        if refusal:
            return self._reply(body, "", f"refused: {self._at.safe(str(refusal))}", refused=True)
        if how == "length":
            return self._reply(body, text, "cut off at max_tokens")
        if how not in _WHOLE_FINISH:
            return self._reply(body, text, f"not known to be whole (finish_reason {self._at.safe(how)})")
        return self._reply(body, text, "" if text.strip() else "empty")

    def _reply(self, body: Any, text: str, fault: str, refused: bool = False) -> Reply:
        usage = body.get("usage")
        return Reply(
            text=text,
            fault=fault,
            refused=refused,
            model=self._at.safe(str(body.get("model"))),
            prompt_tokens=_count(usage, "prompt_tokens"),
            completion_tokens=_count(usage, "completion_tokens"),
        )


def _joined(pieces: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The answer that came in pieces, as it would have come whole."""
    choices = [choice for piece in pieces for choice in piece.get("choices") or []]
    deltas = [choice.get("delta") or {} for choice in choices]
    refusal = "".join(delta.get("refusal") or "" for delta in deltas)
    message = {"content": "".join(str(_text(delta.get("content"))) for delta in deltas), "refusal": refusal or None}
    finish = next((choice["finish_reason"] for choice in choices if choice.get("finish_reason")), None)
    usage = next((piece["usage"] for piece in pieces if piece.get("usage")), None)
    model = next((piece["model"] for piece in pieces if piece.get("model")), None)
    whole = [{"message": message, "finish_reason": finish}] if choices else []
    return {"choices": whole, "usage": usage, "model": model}


def _text(content: object) -> object:
    """An answer's text; some endpoints send it in parts, of which those that are no text do not count."""
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict) and part.get("type", "text") == "text")
        return "".join(part for part in parts if isinstance(part, str))
    return content or ""


def _count(usage: object, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value >= 0 else None
