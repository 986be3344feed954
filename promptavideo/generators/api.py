"""A hosted video model behind OpenAI's video endpoint, or one that speaks like it."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from promptavideo.errors import InputError, PromptAVideoError, require
from promptavideo.files import atomic_path
from promptavideo.generators.base import Generator, GeneratorEntry, Made, RefusedError
from promptavideo.generators.orders import Orders, VideoBudget
from promptavideo.hosted import (
    Endpoint,
    FilteredError,
    NoAnswerError,
    Retries,
    check_endpoint,
    hosted_model,
    is_filtered,
    read_key,
)
from promptavideo.settings import Planning
from promptavideo.shots import Shot
from promptavideo.store import VideoFile

log = logging.getLogger(__name__)

T = TypeVar("T")

ORDERED_TWICE = 2
"""How often a video is ordered in all whose making fails."""


class OpenAIVideoConfig(GeneratorEntry):
    """A generator behind OpenAI's video endpoint."""

    kind: Literal["openai-video"]
    base_url: str
    """The endpoint's address without `/videos`."""
    model: str = Field(min_length=1)
    """Its name there; a dated one keeps its meaning."""
    key_variable: Annotated[str | None, Planning()] = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key, never the key itself; null: the endpoint wants none."""
    size: str = Field(pattern=r"^[1-9]\d{1,3}x[1-9]\d{1,3}$")
    """Width x height, one of those that the model offers."""
    seconds: int = Field(ge=1)
    """Length of a video, one of those that the model offers."""
    batch_size: Annotated[int, Planning()] = Field(4, ge=1)
    """Videos being made at a time, for each job; changes no video."""
    poll_s: Annotated[float, Planning()] = Field(10.0, gt=0)
    """Between two questions whether a video is done."""
    timeout_s: Annotated[float, Planning()] = Field(1800.0, gt=0)
    """How long to wait for one video."""
    request_timeout_s: Annotated[float, Planning()] = Field(120.0, gt=0)
    """Limit of one request."""
    retries: Annotated[Retries, Planning()] = Retries()
    price_per_second: Annotated[float | None, Planning()] = Field(None, ge=0)
    """Of video; for `budget.money` and estimates."""
    budget: Annotated[VideoBudget, Planning()] = VideoBudget()
    threads: Annotated[int, Planning()] = Field(1, ge=1)
    """Cores of one job."""
    crf: int = Field(12, ge=0, le=51)
    """Of videos that do not come as H.264."""
    seconds_per_video: Annotated[float, Planning()] = Field(gt=0)
    """Expected time of one video with `batch_size` at a time; plans shards and estimates, never results."""

    negative_prompt: ClassVar[str | None] = None
    takes_negative: ClassVar[bool] = False
    films_here: ClassVar[bool] = False

    @property
    def price(self) -> float:
        """Of one video."""
        return self.seconds * (self.price_per_second or 0.0)

    def ready(self, where: str) -> None:
        """Check that its key is there."""
        read_key(self.key_variable, self.base_url, where)

    def strangers(self, filming: Sequence[Mapping[str, Any]]) -> str:
        """The hosted model."""
        return hosted_model(self.model, self.base_url)

    def load(self, name: str, folders: Sequence[Path], work: Path | None) -> Generator:
        """Prepare, without asking anything."""
        where = f"generators.{name}"
        return OpenAIVideoGenerator(self, where, require(work, f"{where}: needs a folder to work in"))

    # On the whole section, since messages show the value of a field that is wrong.
    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        check_endpoint(self.base_url, self.key_variable)
        if self.budget.money is not None and self.price_per_second is None:
            raise ValueError("budget.money needs price_per_second")
        return self


class OpenAIVideoGenerator(Generator):
    """Orders videos, waits for them and fetches them.

    The endpoint takes no seed: it stays part of a video's key, so that replicates are different videos, but a video
    that is lost cannot be made again. The store keeps the first one it gets.
    """

    def __init__(self, config: OpenAIVideoConfig, entry: str, work: Path) -> None:
        """Prepare, without asking anything.

        Args:
            config: Its configuration entry.
            entry: Its name, e.g. `generators.sora`, for messages.
            work: Folder for the ledger of orders, shared by all jobs, and for what is being fetched.

        Raises:
            InputError: The key is missing.
        """
        self.config = config
        self.batch_size, self.crf = config.batch_size, config.crf
        key = read_key(config.key_variable, config.base_url, entry)
        self._at = Endpoint(entry, config.base_url, config.model, key, config.request_timeout_s)
        self._work = work
        self._orders = Orders(work / "ledger.jsonl", entry)

    def identity(self) -> dict[str, Any]:
        """Address, model, size and length."""
        return self.config.decides()

    def circumstances(self) -> dict[str, Any]:
        """Where the model is."""
        return {"device": f"{self.config.model} at {urlsplit(self.config.base_url).hostname}"}

    def environment(self) -> dict[str, Any]:
        """Nothing: what the model runs on and with is its owner's."""
        return {}

    def film(self, shots: Sequence[Shot]) -> Iterator[Made]:
        """Film up to `batch_size` shots; see `Generator.film`. What was ordered before is fetched."""
        texts, keys = [shot.text for shot in shots], [self.key(shot) for shot in shots]
        orders: list[str | PromptAVideoError] = []
        stopped: PromptAVideoError | None = None
        for text, key in zip(texts, keys, strict=True):
            order = self._order(text, key, stopped)
            if isinstance(order, PromptAVideoError) and not isinstance(order, RefusedError):
                stopped = order
            orders.append(order)
        for text, key, order in zip(texts, keys, orders, strict=True):
            made = self._collect(text, key, order) if isinstance(order, str) else order
            yield made
            if isinstance(made, VideoFile):
                made.path.unlink(missing_ok=True)
        seconds, money = self._orders.spent()
        log.info("%s has ordered %g s of video%s in all", self._at.entry, seconds, f", {money:.2f}" if money else "")

    def _order(self, text: str, key: str, stopped: PromptAVideoError | None) -> str | PromptAVideoError:
        """The id of a video's order; placed now, unless it was before, or the work has stopped."""
        match self._orders.state(key):
            case ("refused", why):
                return RefusedError(f"{why} (when asked before; {self._orders.path})")
            case ("accepted", id_):
                return id_
        if stopped:
            return stopped
        try:
            return self._place(text, key)
        except FilteredError as error:
            self._orders.refuse(key, str(error))
            return RefusedError(str(error))
        except PromptAVideoError as error:
            return error

    def _place(self, text: str, key: str) -> str:
        """Order a video. Each attempt that may have cost something counts as spent, however it ended."""
        config, seconds = self.config, float(self.config.seconds)

        def once() -> str:
            self._orders.ask(key, seconds, config.price, config.budget)
            try:
                video = self._request(
                    lambda: self._client.videos.create(
                        model=config.model, prompt=text, size=config.size, seconds=str(config.seconds)
                    )
                )
                if not isinstance(video.id, str) or not video.id:
                    raise NoAnswerError("the answer names no video", charged=True)
            except (NoAnswerError, FilteredError, InputError) as failure:
                if not (isinstance(failure, NoAnswerError) and failure.charged):
                    self._orders.release(key, seconds, config.price)
                raise
            self._orders.accept(key, video.id)
            return video.id

        return self._persist(once)

    def _collect(self, text: str, key: str, id_: str) -> Made:
        """Wait for an order and fetch its video; one whose making failed is ordered once more."""
        failure = ""
        for attempt in range(ORDERED_TWICE):
            if attempt:
                order = self._order(text, key, None)
                if not isinstance(order, str):
                    return order
                id_ = order
            try:
                video = self._wait(id_)
                if video is not None and video.status == "completed":
                    made = self._fetch(key, id_)
                    if made is not None:
                        return made
                code, said = _reason(video)
            except PromptAVideoError as error:
                return error
            if is_filtered(code):
                why = self._at.safe(f"refused by the content filter ({said})")
                self._orders.refuse(key, why)
                return RefusedError(why)
            failure = self._at.safe(f"{code}: {said}")
            self._orders.drop(key)
            log.warning("%s: %s could not be made (%s)", self._at.entry, id_, failure)
        return InputError(
            f"{self._at.entry}: a video was ordered twice and could not be made ({failure}); text: {text!r}"
        )

    def _wait(self, id_: str) -> Any:
        """The finished order, completed or failed; None if the endpoint does not know it (any more).

        Raises:
            InputError: It is still being made when the time is over.
        """
        until = time.monotonic() + self.config.timeout_s
        while True:
            video = self._get(lambda: self._client.videos.retrieve(id_))
            if video is None or video.status in ("completed", "failed"):
                return video
            if time.monotonic() >= until:
                raise InputError(
                    f"{self._at.entry}: {id_} is still {self._at.safe(str(video.status))} after "
                    f"{self.config.timeout_s:g} s. Run the same command again: it is waited for, and not paid for twice"
                )
            time.sleep(self.config.poll_s)

    def _fetch(self, key: str, id_: str) -> VideoFile | None:
        """Download a video; None if it is not there any more."""
        content = self._get(lambda: self._client.videos.download_content(id_).content)
        if content is None:
            return None
        path = self._work / f"{key}.mp4"
        with atomic_path(path) as partial:
            partial.write_bytes(content)
        width, height = map(int, self.config.size.split("x"))
        return VideoFile(path, width, height)

    def _get(self, ask: Callable[[], T]) -> T | None:
        """Ask for something that exists; None if it does not."""
        from openai import NotFoundError

        def found() -> T | None:
            try:
                return ask()
            except NotFoundError:
                return None

        try:
            return self._persist(lambda: self._request(found))
        except FilteredError as error:
            raise InputError(f"{self._at.entry}: {error}") from error

    def _request(self, ask: Callable[[], T]) -> T:
        """Ask once; what goes wrong is explained."""
        # Raised outside the `except` clause: what the client raises holds the request with its headers.
        try:
            return ask()
        except Exception as error:
            failure = self._at.explain(error)
        raise failure

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
            time.sleep(wait)
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


def _reason(video: Any) -> tuple[str, str]:
    """Code and text of why an order came to nothing."""
    if video is None or video.status == "completed":
        return "gone", "the endpoint does not have it any more"
    return str(getattr(video.error, "code", "unknown")), str(getattr(video.error, "message", "no reason given"))
