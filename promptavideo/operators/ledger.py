"""What was spent: a ledger that several processes write to, and the budget that it enforces."""

import fcntl
import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal

from pydantic import Field, TypeAdapter

from promptavideo.errors import InputError
from promptavideo.settings import Section

log = logging.getLogger(__name__)


class Prices(Section):
    """What an endpoint charges for a million tokens."""

    prompt: float = Field(ge=0)
    completion: float = Field(ge=0)
    currency: str = "USD"

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """The price of one request."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


class Budget(Section):
    """What may be spent in all, over every stage, generator and restart that shares the ledger."""

    money: float | None = Field(default=None, gt=0)
    """In the currency of the prices."""
    tokens: int | None = Field(default=None, gt=0)
    """Prompt and completion tokens together."""


@dataclass
class Spent:
    """Sums over requests."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    money: float = 0.0

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class _Line:
    """One line: a request is `asked` with an estimate of what it may cost, and `settled` when that is known."""

    event: Literal["asked", "settled"]
    id: str
    account: str
    prompt_tokens: int
    completion_tokens: int
    money: float
    time: str


_LINE = TypeAdapter(_Line)


@dataclass
class _Account:
    settled: Spent = field(default_factory=Spent)
    open: dict[str, _Line] = field(default_factory=dict)


class Ledger:
    """An append-only file of JSON lines.

    A request is entered before it is asked, with what it may cost, and settled afterwards. So two processes cannot both
    spend what is left, and a request whose end nobody saw (a time-out, a killed process) counts with its estimate.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_to = 0
        self._accounts: dict[str, _Account] = {}

    def spent(self, account: str) -> Spent:
        """What an account has spent, estimates of requests without a known end included."""
        if not self.path.exists():
            return Spent()
        with self._locked():
            return self._total(account)

    def ask(
        self, account: str, prompt_tokens: int, completion_tokens: int, prices: Prices | None, budget: Budget
    ) -> str:
        """Enter a request that is about to be asked.

        Args:
            account: Who asks, and has the budget: an entry of the configuration, e.g. `operators.gpt-4o`.
            prompt_tokens: Estimate.
            completion_tokens: The most that the answer may have.
            prices: What they cost; None for an endpoint that charges nothing.
            budget: What the account may spend.

        Returns:
            The request's id, for `settle`.

        Raises:
            InputError: The budget has not enough left; nothing was entered.
        """
        money = prices.of(prompt_tokens, completion_tokens) if prices else 0.0
        line = _Line("asked", secrets.token_hex(8), account, prompt_tokens, completion_tokens, money, _now())
        with self._locked() as stream:
            total = self._total(account)
            if budget.tokens is not None and total.tokens + prompt_tokens + completion_tokens > budget.tokens:
                left = f"{total.tokens} of {budget.tokens} tokens are spent"
                may = f"{prompt_tokens + completion_tokens}"
                raise InputError(self._used_up(account, "tokens", left, may))
            if budget.money is not None and total.money + money > budget.money:
                currency = prices.currency if prices else ""
                left = f"{total.money:.2f} of {budget.money:.2f} {currency} are spent"
                raise InputError(self._used_up(account, "money", left, f"{money:.4f}"))
            self._append(stream, line)
        return line.id

    def settle(self, id_: str, account: str, prompt_tokens: int, completion_tokens: int, prices: Prices | None) -> None:
        """Enter what a request really took."""
        money = prices.of(prompt_tokens, completion_tokens) if prices else 0.0
        with self._locked() as stream:
            self._append(stream, _Line("settled", id_, account, prompt_tokens, completion_tokens, money, _now()))

    def _used_up(self, account: str, key: str, left: str, may: str) -> str:
        return (
            f"{account}.budget.{key}: the budget is used up: {left} ({self.path}), and the next request may take "
            f"{may}. Raise {account}.budget.{key} and run again"
        )

    @contextmanager
    def _locked(self) -> Iterator[IO[bytes]]:
        """The file, with everything that others appended read; nobody else reads or writes meanwhile."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.seek(self._read_to)
            text = stream.read()
            if text and not text.endswith(b"\n"):  # a process died while it wrote; nobody writes now
                stream.write(b"\n")
                stream.flush()
                text += b"\n"
            self._read_to += len(text)
            for line in text.splitlines():
                self._enter(line)
            yield stream

    def _append(self, stream: IO[bytes], line: _Line) -> None:
        text = _LINE.dump_json(line) + b"\n"
        stream.write(text)
        stream.flush()
        self._read_to += len(text)
        self._enter(text)

    def _enter(self, text: bytes) -> None:
        try:
            line = _LINE.validate_json(text, strict=True)
        except ValueError:
            log.warning("%s: a line is damaged and counts for nothing: %.80r", self.path, text)
            return
        account = self._accounts.setdefault(line.account, _Account())
        if line.event == "asked":
            account.open[line.id] = line
        else:
            account.open.pop(line.id, None)
            _add(account.settled, line)

    def _total(self, account: str) -> Spent:
        known = self._accounts.get(account, _Account())
        total = Spent(**vars(known.settled))
        for line in known.open.values():
            _add(total, line)
        return total


def _add(spent: Spent, line: _Line) -> None:
    spent.requests += 1
    spent.prompt_tokens += line.prompt_tokens
    spent.completion_tokens += line.completion_tokens
    spent.money += line.money


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
