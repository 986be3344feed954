"""What was spent: a ledger that several processes write to, and the budget that it enforces."""

import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from promptavideo.errors import InputError
from promptavideo.settings import Section
from promptavideo.shared_lines import SharedLines, now


class Prices(Section):
    """What an endpoint charges for a million tokens."""

    prompt: float = Field(ge=0)
    """Of what is asked."""
    completion: float = Field(ge=0)
    """Of what is answered."""
    currency: str = "USD"
    """Of both, and of `budget.money`."""

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """The price of one request."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


class Budget(Section):
    """What may be spent in all, over every stage, generator and restart that shares the ledger."""

    money: float | None = Field(default=None, gt=0)
    """In the currency of the prices."""
    tokens: int | None = Field(default=None, gt=0)
    """Prompt and completion tokens together."""


@dataclass(frozen=True)
class _Line:
    """One line: a request is `asked` with an estimate of what it may cost, and `settled` when that is known."""

    event: Literal["asked", "settled"]
    id: str
    account: str
    prompt_tokens: int
    completion_tokens: int
    money: float
    time: str = field(default_factory=now)


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

    def add(self, line: _Line) -> None:
        """Count one more request."""
        self.requests += 1
        self.prompt_tokens += line.prompt_tokens
        self.completion_tokens += line.completion_tokens
        self.money += line.money


class Ledger(SharedLines[_Line]):
    """The requests of one account, in a file that all accounts share.

    A request is entered before it is asked, with what it may cost, and settled afterwards. So two processes cannot both
    spend what is left, and a request whose end nobody saw (a time-out, a killed process) counts with its estimate.
    """

    def __init__(self, path: Path, account: str, prices: Prices | None = None, budget: Budget | None = None) -> None:
        """Take the file, which need not exist, and the account.

        Args:
            path: The file.
            account: Who asks, and has the budget: an entry of the configuration, e.g. `operators.gpt-4o`.
            prices: What tokens cost; None for an endpoint that charges nothing.
            budget: What the account may spend.
        """
        super().__init__(path, _Line)
        self._account, self._prices, self._budget = account, prices, budget or Budget()
        self._settled = Spent()
        self._open: dict[str, _Line] = {}

    def spent(self) -> Spent:
        """What the account has spent, estimates of requests without a known end included."""
        if not self.path.exists():
            return Spent()
        with self._locked():
            return self._total()

    def ask(self, prompt_tokens: int, completion_tokens: int) -> str:
        """Enter a request that is about to be asked.

        Args:
            prompt_tokens: Estimate.
            completion_tokens: The most that the answer may have.

        Returns:
            The request's id, for `settle`.

        Raises:
            InputError: The budget has not enough left; nothing was entered.
        """
        line = self._line("asked", secrets.token_hex(8), prompt_tokens, completion_tokens)
        budget, tokens = self._budget, prompt_tokens + completion_tokens
        with self._locked() as append:
            total = self._total()
            if budget.tokens is not None and total.tokens + tokens > budget.tokens:
                raise self._used_up("tokens", f"{total.tokens} of {budget.tokens} tokens are spent", f"{tokens}")
            if budget.money is not None and total.money + line.money > budget.money:
                currency = self._prices.currency if self._prices else ""
                left = f"{total.money:.2f} of {budget.money:.2f} {currency} are spent"
                raise self._used_up("money", left, f"{line.money:.4f}")
            append(line)
        return line.id

    def settle(self, id_: str, prompt_tokens: int, completion_tokens: int) -> None:
        """Enter what a request really took."""
        self._append(self._line("settled", id_, prompt_tokens, completion_tokens))

    def _line(self, event: Literal["asked", "settled"], id_: str, prompt_tokens: int, completion_tokens: int) -> _Line:
        money = self._prices.of(prompt_tokens, completion_tokens) if self._prices else 0.0
        return _Line(event, id_, self._account, prompt_tokens, completion_tokens, money)

    def _used_up(self, key: str, left: str, may: str) -> InputError:
        return InputError(
            f"{self._account}.budget.{key}: the budget is used up: {left} ({self.path}), and the next request may take "
            f"{may}. Raise {self._account}.budget.{key} and run again"
        )

    def _enter(self, line: _Line) -> None:
        if line.account != self._account:
            return
        if line.event == "asked":
            self._open[line.id] = line
        else:
            self._open.pop(line.id, None)
            self._settled.add(line)

    def _total(self) -> Spent:
        total = replace(self._settled)
        for line in self._open.values():
            total.add(line)
        return total
