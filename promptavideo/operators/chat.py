"""A language model behind an OpenAI-compatible chat endpoint as operator."""

import asyncio
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, JsonValue, model_validator

from promptavideo.errors import InputError, OperatorError, PromptAVideoError, require
from promptavideo.hosted import (
    NO_KEY,
    Endpoint,
    NoAnswerError,
    RejectedError,
    Retries,
    check_endpoint,
    hosted_model,
    read_key,
)
from promptavideo.operators.base import Answer, Key, Operator, OperatorEntry, Request
from promptavideo.operators.cache import Answers
from promptavideo.operators.endpoint import ChatEndpoint, Reply
from promptavideo.operators.ledger import Budget, Ledger, Prices
from promptavideo.operators.pace import Pacer, sleep
from promptavideo.progress import Progress
from promptavideo.seeds import derive
from promptavideo.settings import Added, Planning

log = logging.getLogger(__name__)

_OWN_FIELDS = {
    "model", "messages", "temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "stream", "n"
}  # fmt: skip
_BYTES_PER_TOKEN = 3  # low, so that estimates are high: English has about 4, other scripts about 3
_GIVEN_UP_IN_A_ROW = 3  # requests, after which the endpoint itself is taken to be down
_ASKED_FOR_A_WHOLE_ANSWER = 3  # times, each of which is paid for


class ChatConfig(OperatorEntry):
    """A model behind an OpenAI-compatible chat endpoint."""

    kind: Literal["chat"]
    base_url: str
    """The endpoint's address without `/chat/completions`, e.g. https://api.openai.com/v1."""
    model: str = Field(min_length=1)
    """Its name there; a dated one keeps its meaning."""
    key_variable: Annotated[str | None, Planning()]
    """Name of the environment variable that holds the key, never the key itself; null: the endpoint wants none."""
    temperature: float | None = Field(default=None, ge=0)
    """null: the endpoint's default, as for all settings that may be null."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Answers are drawn from the most probable tokens that together have this probability."""
    max_tokens: int = Field(ge=1)
    """Longest answer; an answer that reaches it is cut off."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the endpoint calls it; reasoning models of OpenAI know the second only."""
    send_seed: bool = False
    """Send a seed with each request, derived from the request's key; not all endpoints take one."""
    extra_body: dict[str, JsonValue] = Field(default={})
    """Further fields of each request, for what only this endpoint knows."""
    query: Annotated[dict[str, str], Added()] = Field(default={})
    """What each address ends with, such as Azure's {api-version: 2024-10-21}; never a key."""
    headers: Annotated[dict[str, str], Planning()] = Field(default={})
    """{header: name of the environment variable that holds its value}, such as {api-key: AZURE_OPENAI_API_KEY}."""
    stream: Annotated[bool, Planning()] = False
    """For servers that only stream. Tokens are estimated then, unless extra_body asks for `stream_options`."""
    timeout_s: Annotated[float, Planning()] = Field(default=120.0, gt=0)
    """Limit of one request."""
    concurrency: Annotated[int, Planning()] = Field(default=8, ge=1)
    """Requests under way at a time, in each job; changes no result."""
    requests_per_minute: Annotated[float | None, Planning()] = Field(default=None, gt=0)
    """Bound on each job; null: only the endpoint's own complaints slow it down."""
    tokens_per_minute: Annotated[float | None, Planning()] = Field(default=None, gt=0)
    """Likewise, with estimates of the prompt's tokens and `max_tokens` of the answer."""
    retries: Annotated[Retries, Planning()] = Retries()
    prices: Annotated[Prices | None, Planning()] = None
    """For the ledger and `budget.money`."""
    budget: Annotated[Budget, Planning()] = Budget()

    # On the whole section rather than on the fields, since messages show the value of a field that is wrong.
    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        for variable in (self.key_variable, *self.headers.values()):
            check_endpoint(self.base_url, variable)
        if self.budget.money is not None and self.prices is None:
            raise ValueError("budget.money needs prices")
        taken = _OWN_FIELDS & self.extra_body.keys()
        if taken:
            raise ValueError(f"extra_body must not hold {', '.join(sorted(taken))}")
        return self

    kept: ClassVar[bool] = True

    def price(self, prompt_tokens: int, answer_tokens: int) -> float:
        """Of one request, as far as prices are given."""
        return self.prices.of(prompt_tokens, answer_tokens) if self.prices else 0.0

    @property
    def source(self) -> str:
        """The hosted model."""
        return hosted_model(self.model, self.base_url)

    def ready(self, where: str) -> None:
        """Check that its key and headers are there, without asking it."""
        read_key(self.key_variable, self.base_url, where)
        self.read_headers(where)

    def load(self, name: str, store: Path | None) -> "ChatOperator":
        """Make the operator."""
        return ChatOperator(self, name, require(store, f"operators.{name}: a chat operator needs a store"))

    def read_headers(self, entry: str) -> dict[str, str]:
        """The headers with their values from the environment.

        Args:
            entry: The configuration entry, e.g. `operators.gpt-4o`, for messages.

        Raises:
            InputError: A variable is not set, or what it holds cannot be a header's value.
        """
        return {name: read_key(variable, self.base_url, entry) or NO_KEY for name, variable in self.headers.items()}

    def body(self, key: Key) -> dict[str, Any]:
        """The fields of a request's body besides model and messages."""
        fields = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            self.max_tokens_field: self.max_tokens,
            "seed": derive("chat", *key) if self.send_seed else None,
        }
        return {name: value for name, value in fields.items() if value is not None} | self.extra_body


class ChatOperator(Operator):
    """Asks many requests at once; whole answers are kept on disk and never asked again."""

    def __init__(self, config: ChatConfig, name: str, store: Path) -> None:
        """Prepare, without asking anything.

        Args:
            config: The entry.
            name: Its name: the account of its budget.
            store: The folder whose `chat/` holds the answers and the ledger, for all stages and generators.

        Raises:
            InputError: The key is missing.
        """
        self._config, self._name, self._entry = config, name, f"operators.{name}"
        key = read_key(config.key_variable, config.base_url, self._entry)
        self._headers = config.read_headers(self._entry)
        secrets = tuple(value for value in self._headers.values() if value != NO_KEY)
        self._at = Endpoint(self._entry, config.base_url, config.model, key, config.timeout_s, secrets)
        self._answers = Answers(store / "chat" / "answers")
        self._ledger = Ledger(store / "chat" / "ledger.jsonl", self._entry, config.prices, config.budget)

    def answer(self, request: Request) -> str:
        """The answer to one request, "" if there is none; see `answer_all`."""
        return self.answer_all([request])[0].text

    def answer_all(self, requests: Sequence[Request]) -> list[Answer]:
        """The answers to the instructions of requests, in order.

        A request that the endpoint refuses, or never answers whole, has none; that is kept too, since it was paid for.

        Raises:
            InputError: The key, the model or a setting is wrong, or the budget is used up.
            OperatorError: The endpoint answered nothing, or not several requests in a row, however often it was asked.
        """
        kept = {
            place: answer
            for place, request in enumerate(requests)
            if (answer := self._answers.get(self._digest(request)))
        }
        missing = [place for place in range(len(requests)) if place not in kept]
        if known := [place for place, answer in kept.items() if answer.fault]:
            log.warning(
                "%s: %d requests are not asked again, since an earlier run got no answer to them (first %s: %s); to "
                "ask again, delete the files in %s that hold \"left_out\"",
                self._entry, len(known), _show(requests[known[0]].key), kept[known[0]].fault, self._answers.folder,
            )  # fmt: skip
        if missing:
            progress = Progress(f"ask {self._name}", len(requests), "requests", len(requests) - len(missing))
            found = asyncio.run(self._ask_all([requests[place] for place in missing], progress))
            kept |= zip(missing, found, strict=True)
            spent = self._ledger.spent()
            prices = self._config.prices
            money = f", {spent.money:.2f} {prices.currency}" if prices else ""
            log.info("%s has spent %d tokens%s in all", self._entry, spent.tokens, money)
        return [kept[place] for place in range(len(requests))]

    async def _ask_all(self, requests: Sequence[Request], progress: Progress) -> list[Answer]:
        """Ask with several workers; after an error those end what they have begun, and it is kept."""
        config = self._config
        endpoint = ChatEndpoint(self._at, self._headers, config.query, config.stream)
        run = _Run(requests, progress, Pacer(config.requests_per_minute, config.tokens_per_minute))
        async with endpoint.client:
            workers = min(config.concurrency, len(requests))
            await asyncio.gather(*(self._work(run, endpoint) for _ in range(workers)))
        if isinstance(run.error, PromptAVideoError):
            raise type(run.error)(f"{run.error}. {self._kept(run)}")
        if run.error:
            raise run.error
        if run.given_up:
            place, failure = run.given_up[0]
            told = (
                f"{self._entry}: {config.base_url} gave no answer to {len(run.given_up)} of {len(requests)} requests, "
                f"each asked {config.retries.attempts} times at most; first {_show(requests[place].key)}: {failure}"
            )
            if run.stop.is_set() or not run.texts:
                fault = InputError if all(isinstance(one, RejectedError) for _, one in run.given_up) else OperatorError
                raise fault(f"{told}. {self._kept(run)}")
            log.warning("%s; they are left out", told)
        given_up = {place: Answer("", str(failure)) for place, failure in run.given_up}
        return [given_up.get(place) or run.texts[place] for place in range(len(requests))]

    def _kept(self, run: "_Run") -> str:
        return (
            f"{len(run.texts)} of {len(run.requests)} requests were answered; the answers are kept in "
            f"{self._answers.folder}, and the same command asks only what is missing"
        )

    async def _work(self, run: "_Run", endpoint: ChatEndpoint) -> None:
        """Ask one request after the other until none is left or the run stops."""
        while run.left and not run.stop.is_set():
            place = run.left.pop()
            try:
                text = await self._ask(run, endpoint, run.requests[place])
            except (NoAnswerError, RejectedError) as failure:
                run.give_up(place, failure)
            except Exception as error:
                run.error = run.error or error
                run.stop.set()
            else:
                if text is not None:
                    run.answered(place, text)

    async def _ask(self, run: "_Run", endpoint: ChatEndpoint, request: Request) -> Answer | None:
        """Ask one request until it is answered; None if the run stops before."""
        config, retries = self._config, self._config.retries
        instruction, key = request.instruction, request.key
        prompt_tokens = len(instruction.encode()) // _BYTES_PER_TOKEN + 16
        for attempt in range(retries.attempts):
            await run.pacer.wait(prompt_tokens + config.max_tokens, run.stop)
            if run.stop.is_set():
                return None
            ticket = self._ledger.ask(prompt_tokens, config.max_tokens)
            try:
                reply = await endpoint.ask(instruction, config.body(key))
            except NoAnswerError as failure:
                if not failure.charged:
                    self._ledger.settle(ticket, 0, 0)
                if attempt + 1 == retries.attempts:
                    raise
                await self._back_off(run, failure, attempt, key)
            except InputError:
                self._ledger.settle(ticket, 0, 0)
                raise
            else:
                used = _used(reply, prompt_tokens)
                self._ledger.settle(ticket, *used)
                last = attempt + 1 == min(retries.attempts, _ASKED_FOR_A_WHOLE_ANSWER)
                if not reply.fault or reply.refused or last:
                    return self._keep(reply, used, request)
                log.info("%s: the answer is %s; asking again", _show(key), reply.fault)
        return None

    async def _back_off(self, run: "_Run", failure: NoAnswerError, attempt: int, key: Key) -> None:
        """Wait before the next attempt; when the endpoint asks to wait, every request does."""
        retries = self._config.retries
        wait = retries.wait_s(attempt, failure)
        if wait is None:
            raise OperatorError(
                f"{self._entry}: {self._config.base_url} asks to wait {failure.wait_s:.0f} s ({failure}), more than "
                f"{self._entry}.retries.longest_asked_wait_s={retries.longest_asked_wait_s:g}; run again later"
            )
        if failure.wait_s is not None:
            run.pacer.pause(failure.wait_s)
        log.info("%s: %s; asking again in %.1f s", _show(key), failure, wait)
        await sleep(wait, run.stop)

    def _keep(self, reply: Reply, used: tuple[int, int], request: Request) -> Answer:
        if reply.fault:
            log.warning("%s: left out, since the answer is %s (%s)", _show(request.key), reply.fault, self._entry)
        origin = {
            "model": reply.model,
            "operator": self._name,
            "key": list(request.key),
            "prompt_tokens": used[0],
            "completion_tokens": used[1],
        }
        answer = Answer("" if reply.fault else reply.text, reply.fault)
        return self._answers.put(self._digest(request), answer, origin)

    def _digest(self, request: Request) -> str:
        """Hash of everything that an answer depends on."""
        asked = self._config
        parts = [
            asked.base_url,
            asked.model,
            asked.body(request.key),
            request.instruction,
            list(request.key),
            *([asked.query] if asked.query else []),
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


class _Run:
    """What the workers of one call share."""

    def __init__(self, requests: Sequence[Request], progress: Progress, pacer: Pacer) -> None:
        self.requests, self.pacer = requests, pacer
        self.left = list(range(len(requests)))[::-1]
        self.texts: dict[int, Answer] = {}
        self.given_up: list[tuple[int, Exception]] = []
        self.error: Exception | None = None
        self.stop = asyncio.Event()
        self._progress, self._in_a_row = progress, 0

    def answered(self, place: int, text: Answer) -> None:
        self.texts[place] = text
        self._in_a_row = 0
        self._progress.advance(1)

    def give_up(self, place: int, failure: Exception) -> None:
        self.given_up.append((place, failure))
        if isinstance(failure, RejectedError) and self.texts:
            return  # the settings are right, so this one prompt is at fault
        self._in_a_row += 1
        if self._in_a_row >= _GIVEN_UP_IN_A_ROW:
            self.stop.set()


def _used(reply: Reply, prompt_tokens: int) -> tuple[int, int]:
    """Prompt and completion tokens as the endpoint counted them, or else estimates."""
    answered = len(reply.text.encode()) // _BYTES_PER_TOKEN
    return (
        prompt_tokens if reply.prompt_tokens is None else reply.prompt_tokens,
        answered if reply.completion_tokens is None else reply.completion_tokens,
    )


def _show(key: Key) -> str:
    return "/".join(map(str, key))
