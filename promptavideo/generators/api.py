"""A hosted video model behind OpenAI's video endpoint, or one that speaks like it."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field

from promptavideo.errors import InputError, PromptAVideoError, require
from promptavideo.files import atomic_path
from promptavideo.generators.base import Generator, Made, RefusedError
from promptavideo.generators.endpoint import ORDERED_TWICE, EndpointEntry, EndpointGenerator
from promptavideo.generators.orders import VideoBudget
from promptavideo.hosted import FilteredError, NoAnswerError, is_filtered
from promptavideo.settings import Planning
from promptavideo.shots import Shot
from promptavideo.store import VideoFile

log = logging.getLogger(__name__)

T = TypeVar("T")


class OpenAIVideoConfig(EndpointEntry):
    """A generator behind OpenAI's video endpoint."""

    kind: Literal["openai-video"]
    seconds: int = Field(ge=1)
    """Length of a video, one of those that the model offers."""
    batch_size: Annotated[int, Planning()] = Field(4, ge=1)
    """Videos being made at a time, for each job; changes no video."""
    poll_s: Annotated[float, Planning()] = Field(10.0, gt=0)
    """Between two questions whether a video is done."""
    timeout_s: Annotated[float, Planning()] = Field(1800.0, gt=0)
    """How long to wait for one video."""
    price_per_second: Annotated[float | None, Planning()] = Field(None, ge=0)
    """Of video; for `budget.money` and estimates."""
    budget: Annotated[VideoBudget, Planning()] = VideoBudget()
    crf: int = Field(12, ge=0, le=51)
    """Of videos that do not come as H.264."""

    priced_by: ClassVar[str] = "price_per_second"

    @property
    def amount(self) -> float:
        """Seconds of one video."""
        return float(self.seconds)

    @property
    def price(self) -> float:
        """Of one video."""
        return self.seconds * (self.price_per_second or 0.0)

    def load(self, name: str, folders: Sequence[Path], work: Path | None) -> Generator:
        """Prepare, without asking anything."""
        where = f"generators.{name}"
        return OpenAIVideoGenerator(self, where, require(work, f"{where}: needs a folder to work in"))


class OpenAIVideoGenerator(EndpointGenerator):
    """Orders videos, waits for them and fetches them.

    The endpoint takes no seed: it stays part of a video's key, so that replicates are different videos, but a video
    that is lost cannot be made again. The store keeps the first one it gets.
    """

    config: OpenAIVideoConfig

    def __init__(self, config: OpenAIVideoConfig, entry: str, work: Path) -> None:
        """Prepare, without asking anything; see `EndpointGenerator`."""
        super().__init__(config, entry, work)
        self.crf = config.crf

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
        self._tell_spent("s of video")

    def _order(self, text: str, key: str, stopped: PromptAVideoError | None) -> str | PromptAVideoError:
        """The id of a video's order; placed now, unless it was before, or the work has stopped."""
        match self._orders.state(key):
            case ("refused", why):
                return self._refused_before(why)
            case ("accepted", id_):
                return id_
        if stopped:
            return stopped
        return self._attempt(key, lambda: self._place(text, key))

    def _place(self, text: str, key: str) -> str:
        """Order a video."""
        config = self.config

        def create() -> str:
            video = self._client.videos.create(
                model=config.model, prompt=text, size=config.size, seconds=str(config.seconds)
            )
            if not isinstance(video.id, str) or not video.id:
                raise NoAnswerError("the answer names no video", charged=True)
            return video.id

        id_ = self._pay(key, create)
        self._orders.accept(key, id_)
        return id_

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
                return self._refuse(key, self._at.safe(f"refused by the content filter ({said})"))
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
        return VideoFile(path, *self.config.width_and_height)

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


def _reason(video: Any) -> tuple[str, str]:
    """Code and text of why an order came to nothing."""
    if video is None or video.status == "completed":
        return "gone", "the endpoint does not have it any more"
    return str(getattr(video.error, "code", "unknown")), str(getattr(video.error, "message", "no reason given"))
