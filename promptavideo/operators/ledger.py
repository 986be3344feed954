"""What was spent: a ledger that several processes write to, and the budget that it enforces."""

import secrets
from dataclasses import dataclass, field
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
    time: str = field(default_factory=now)


@dataclass
class _Account:
    settled: Spent = field(default_factory=Spent)
    open: dict[str, _Line] = field(default_factory=dict)


class Ledger(SharedLines[_Line]):
    """The requests of all accounts.

    A request is entered before it is asked, with what it may cost, and settled afterwards. So two processes cannot both
    spend what is left, and a request whose end nobody saw (a time-out, a killed process) counts with its estimate.
    """

    def __init__(self, path: Path) -> None:
        """Name the file, which need not exist."""
        super().__init__(path, _Line)
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
        line = _Line("asked", secrets.token_hex(8), account, prompt_tokens, completion_tokens, money)
        with self._locked() as append:
            total = self._total(account)
            if budget.tokens is not None and total.tokens + prompt_tokens + completion_tokens > budget.tokens:
                left = f"{total.tokens} of {budget.tokens} tokens are spent"
                may = f"{prompt_tokens + completion_tokens}"
                raise InputError(self._used_up(account, "tokens", left, may))
            if budget.money is not None and total.money + money > budget.money:
                currency = prices.currency if prices else ""
                left = f"{total.money:.2f} of {budget.money:.2f} {currency} are spent"
                raise InputError(self._used_up(account, "money", left, f"{money:.4f}"))
            append(line)
        return line.id

    def settle(self, id_: str, account: str, prompt_tokens: int, completion_tokens: int, prices: Prices | None) -> None:
        """Enter what a request really took."""
        money = prices.of(prompt_tokens, completion_tokens) if prices else 0.0
        with self._locked() as append:
            append(_Line("settled", id_, account, prompt_tokens, completion_tokens, money))

    def _used_up(self, account: str, key: str, left: str, may: str) -> str:
        return (
            f"{account}.budget.{key}: the budget is used up: {left} ({self.path}), and the next request may take "
            f"{may}. Raise {account}.budget.{key} and run again"
        )

    def _enter(self, line: _Line) -> None:
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
