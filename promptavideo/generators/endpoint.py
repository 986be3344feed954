"""What generators behind an API share: the keys of their entries, and how they ask for what is paid for."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from promptavideo.errors import InputError, PromptAVideoError
from promptavideo.generators.base import Generator, GeneratorEntry, RefusedError
from promptavideo.generators.orders import ImageBudget, Orders, VideoBudget
from promptavideo.hosted import (
    Endpoint,
    FilteredError,
    NoAnswerError,
    Retries,
    check_endpoint,
    hosted_model,
    read_key,
)
from promptavideo.settings import Planning

log = logging.getLogger(__name__)

T = TypeVar("T")

ORDERED_TWICE = 2
"""How often a video or image is ordered in all if nothing usable comes of it."""


class EndpointEntry(GeneratorEntry):
    """The configuration of a generator behind an API."""

    base_url: str
    """The endpoint's address without `/videos` or `/images/generations`."""
    model: str = Field(min_length=1)
    """Its name there; a dated one keeps its meaning."""
    key_variable: Annotated[str | None, Planning()] = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key, never the key itself; null: the endpoint wants none."""
    size: str = Field(pattern=r"^[1-9]\d{1,3}x[1-9]\d{1,3}$")
    """Width x height, one of those that the model offers."""
    request_timeout_s: Annotated[float, Planning()] = Field(120.0, gt=0)
    """Limit of one request."""
    retries: Annotated[Retries, Planning()] = Retries()
    threads: Annotated[int, Planning()] = Field(1, ge=1)
    """Cores of one job."""
    seconds_per_video: Annotated[float, Planning()] = Field(gt=0)
    """Expected time of one video, or image, with `batch_size` at a time; plans shards and estimates, never results."""

    negative_prompt: ClassVar[str | None] = None
    takes_negative: ClassVar[bool] = False
    films_here: ClassVar[bool] = False
    priced_by: ClassVar[str]
    """The key that holds the price, without which there is no `budget.money`."""

    if TYPE_CHECKING:  # a budget is a field of each kind, which counts in units of its own

        @property
        def budget(self) -> VideoBudget | ImageBudget:
            """What may be ordered."""

    @property
    def amount(self) -> float:
        """What one video takes of the budget that is not in money."""
        return 1

    @property
    def width_and_height(self) -> tuple[int, int]:
        """The size as numbers."""
        width, height = map(int, self.size.split("x"))
        return width, height

    def ready(self, where: str) -> None:
        """Check that its key is there."""
        read_key(self.key_variable, self.base_url, where)

    def strangers(self, filming: Sequence[Mapping[str, Any]]) -> str:
        """The hosted model."""
        return hosted_model(self.model, self.base_url)

    # On the whole section, since messages show the value of a field that is wrong.
    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        check_endpoint(self.base_url, self.key_variable)
        if self.budget.money is not None and getattr(self, self.priced_by) is None:
            raise ValueError(f"budget.money needs {self.priced_by}")
        return self


class EndpointGenerator(Generator):
    """Asks an endpoint for what is paid for, and enters it in a ledger."""

    config: EndpointEntry

    def __init__(self, config: EndpointEntry, entry: str, work: Path) -> None:
        """Prepare, without asking anything.

        Args:
            config: Its configuration entry.
            entry: Its name, e.g. `generators.sora`, for messages.
            work: Folder for the ledger of orders, shared by all jobs, and for what is being fetched.

        Raises:
            InputError: The key is missing.
        """
        self.config, self.batch_size = config, config.batch_size
        key = read_key(config.key_variable, config.base_url, entry)
        self._at = Endpoint(entry, config.base_url, config.model, key, config.request_timeout_s)
        self._work = work
        self._orders = Orders(work / "ledger.jsonl", entry, config.filmed)
        self._stop = threading.Event()
        """Set when nobody waits any more, which ends waits before further attempts."""

    def identity(self) -> dict[str, Any]:
        """All that the entry says of what it films: address, model, size, ..."""
        return self.config.decides()

    def circumstances(self) -> dict[str, Any]:
        """Where the model is."""
        return {"device": f"{self.config.model} at {urlsplit(self.config.base_url).hostname}"}

    def environment(self) -> dict[str, Any]:
        """Nothing: what the model runs on and with is its owner's."""
        return {}

    def _tell_spent(self, unit: str) -> None:
        """Log what was ordered over all jobs and restarts."""
        amount, money = self._orders.spent()
        log.info("%s has ordered %g %s%s in all", self._at.entry, amount, unit, f", {money:.2f}" if money else "")

    def _attempt(self, key: str, order: Callable[[], T]) -> T | PromptAVideoError:
        """What an order gives, or why it gives nothing; a refusal is remembered."""
        try:
            return order()
        except FilteredError as error:
            return self._refuse(key, str(error))
        except PromptAVideoError as error:
            return error

    def _refuse(self, key: str, why: str) -> RefusedError:
        """Remember that the endpoint films no such text."""
        self._orders.refuse(key, why)
        return RefusedError(why)

    def _refused_before(self, why: str) -> RefusedError:
        return RefusedError(f"{why} (when asked before; {self._orders.path})")

    def _pay(self, key: str, ask: Callable[[], T]) -> T:
        """Ask for what is paid for. Each attempt that may have cost something counts as spent, however it ended."""
        amount, price, budget = self.config.amount, self.config.price, self.config.budget

        def once() -> T:
            self._orders.ask(key, amount, price, budget)
            try:
                return self._request(ask)
            except (NoAnswerError, FilteredError, InputError) as failure:
                if not (isinstance(failure, NoAnswerError) and failure.charged):
                    self._orders.release(key, amount, price)
                raise

        return self._persist(once)

    def _request(self, ask: Callable[[], T]) -> T:
        """Ask once; what goes wrong is explained."""
        # Raised outside the `except` clause: what the client raises holds the request with its headers.
        try:
            return ask()
        except Exception as error:
            failure = self._explain(error)
        raise failure

    def _explain(self, error: Exception) -> Exception:
        """What a failure means; see `Endpoint.explain`."""
        return self._at.explain(error)

    def _persist(self, once: Callable[[], T]) -> T:
        """Do something again after failures that may pass.

        Raises:
            InputError: They did not pass, or the endpoint asks to wait for too long.
        """
        retries = self.config.retries
        for attempt in range(retries.attempts):
            try:
                return once()
            except NoAnswerError as error:
                failure = error
            wait = retries.wait_s(attempt, failure)
            if wait is None or attempt + 1 == retries.attempts:
                break
            log.info("%s: %s; next attempt in %.1f s", self._at.entry, failure, wait)
            if self._stop.wait(wait):
                break
        raise InputError(
            f"{self._at.entry}: {self.config.base_url} does not answer ({failure}). What was filmed is kept; run the "
            "same command again later"
        )

    @cached_property
    def _client(self) -> Any:
        from openai import OpenAI

        # Retries are this project's own: the client's are not in the ledger.
        return OpenAI(
            api_key=self._at.key or "none", base_url=self._at.base_url, timeout=self._at.timeout_s, max_retries=0
        )
