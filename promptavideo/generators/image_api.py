"""A hosted image model behind OpenAI's image endpoint, or one that speaks like it."""

import base64
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from promptavideo.errors import InputError, PromptAVideoError, ScoreError, require
from promptavideo.files import atomic_path
from promptavideo.generators.base import Generator, Made
from promptavideo.generators.endpoint import ORDERED_TWICE, EndpointEntry, EndpointGenerator
from promptavideo.generators.orders import ImageBudget
from promptavideo.hosted import NoAnswerError
from promptavideo.picture import NotPlainError, read_image
from promptavideo.settings import Planning, Value
from promptavideo.shots import Shot
from promptavideo.store import VideoFile
from promptavideo.video import Clip, Filmed, nothing

log = logging.getLogger(__name__)

OWN_ARGUMENTS = {"model", "prompt", "size", "n", "stream"}
"""Of a request; no entry's `settings` may hold them."""

FORMS = ("PNG", "JPEG", "WEBP")
"""What endpoints send. Pillow's other decoders are not for a stranger's bytes: that of EPS runs programs."""

MOST_BYTES = 2**26
"""Of an image's file."""

GATEWAY_TIMEOUTS = (504, 524)
"""Statuses of a gateway that waits no longer, while the model behind it may go on and charge."""


class OpenAIImageConfig(EndpointEntry):
    """A generator of images behind OpenAI's image endpoint."""

    kind: Literal["openai-image"]
    arguments: dict[str, Value] = Field(default_factory=dict, alias="settings")
    """Further arguments of each request, such as quality, and what only this endpoint knows:
    `settings: {response_format: b64_json}` where it else gives an address, which gpt-image models of OpenAI refuse."""
    batch_size: Annotated[int, Planning()] = Field(4, ge=1)
    """Images asked for at a time, for each job; changes no image."""
    request_timeout_s: Annotated[float, Planning()] = Field(300.0, gt=0)
    """Limit of one request, in which the image is made."""
    price_per_image: Annotated[float | None, Planning()] = Field(None, ge=0)
    """For `budget.money` and estimates."""
    budget: Annotated[ImageBudget, Planning()] = ImageBudget()

    medium: ClassVar[Filmed] = "image"
    priced_by: ClassVar[str] = "price_per_image"

    @property
    def price(self) -> float:
        """Of one image."""
        return self.price_per_image or 0.0

    def load(self, name: str, folders: Sequence[Path], work: Path | None) -> Generator:
        """Prepare, without asking anything."""
        where = f"generators.{name}"
        return OpenAIImageGenerator(self, where, require(work, f"{where}: needs a folder to work in"))

    @model_validator(mode="after")
    def _asks_for_one_image(self) -> Self:
        if taken := OWN_ARGUMENTS & self.arguments.keys():
            raise ValueError(f"settings must not hold {', '.join(sorted(taken))}")
        return self


class OpenAIImageGenerator(EndpointGenerator):
    """Asks for images, each by one request that is paid for and holds the image.

    What comes is written to the work folder before anything else is done with it, so that a killed job has it. The
    endpoint takes no seed: as of videos, it stays part of an image's key, and a lost image cannot be made again.
    """

    config: OpenAIImageConfig

    def film(self, shots: Sequence[Shot]) -> Iterator[Made]:
        """Make up to `batch_size` images at a time; see `Generator.film`."""
        work = [(shot.text, self.key(shot)) for shot in shots]
        self._stop.clear()
        # The ledger's lock holds between threads too, since each use of it opens the file anew.
        with ThreadPoolExecutor(len(work)) as pool:
            asked = [pool.submit(self._ask, text, key) for text, key in work]
            try:
                for (text, key), one in zip(work, asked, strict=True):
                    made = self._collect(text, key, one.result())
                    yield made
                    if isinstance(made, Clip):
                        self._file(key).unlink(missing_ok=True)
            finally:
                self._stop.set()
        self._tell_spent("images")

    def _file(self, key: str) -> Path:
        """Where an image is that was paid for and is not stored yet."""
        return self._work / f"{key}.image"

    def _ask(self, text: str, key: str) -> PromptAVideoError | None:
        """Have an image's file, from an earlier run or by asking for it; why there is none, if there is none."""
        if self._file(key).exists():
            return None
        if state := self._orders.state(key):
            return self._refused_before(state[1])
        return self._attempt(key, lambda: self._fetch(text, key))

    def _collect(self, text: str, key: str, asked: PromptAVideoError | None) -> Clip | PromptAVideoError:
        """The image that was asked for; one that is damaged is asked for once more."""
        for attempt in range(ORDERED_TWICE):
            if attempt:
                asked = self._ask(text, key)
            made = asked or self._read(key)
            if not isinstance(made, ScoreError):
                return made
            log.warning("%s: %s", self._at.entry, made)
        return InputError(f"{self._at.entry}: an image was asked for twice and none came ({made}); text: {text!r}")

    def _read(self, key: str) -> Clip | PromptAVideoError:
        """An image's file as a clip, or what is wrong with it: a ScoreError if another one may be better."""
        path = self._file(key)
        try:
            clip = read_image(path, FORMS)
            VideoFile(path, *self.config.width_and_height).check(clip)
        except (NotPlainError, InputError) as error:
            return InputError(f"{self._at.entry}: {error}. What came is kept; delete the file to pay for another one")
        except ScoreError as error:
            path.unlink(missing_ok=True)
            return error
        if nothing(clip) == "black":
            path.unlink(missing_ok=True)
            return self._refuse(key, "the image is wholly black, which filters of what may be shown give")
        return clip

    def _fetch(self, text: str, key: str) -> None:
        """Pay for an image and write its file.

        Raises:
            ScoreError: The answer holds none.
        """
        form, value = self._pay(key, lambda: self._answer(text))
        content = _decoded(value) if form == "b64_json" else self._persist(lambda: self._download(value))
        with atomic_path(self._file(key)) as partial:
            partial.write_bytes(content)

    def _answer(self, text: str) -> tuple[str, str]:
        """In which form the endpoint gives an image, and what it gives."""
        config = self.config
        answer: Any = self._client.images.generate(
            model=config.model, prompt=text, size=config.size, extra_body=config.arguments
        )
        images = getattr(answer, "data", None)
        first = images[0] if isinstance(images, list) and images else None
        for form in ("b64_json", "url"):
            value = getattr(first, form, None)
            if isinstance(value, str) and value:
                return form, value
        raise ScoreError("the answer holds no image")

    def _explain(self, error: Exception) -> Exception:
        """What a failure means: the image of a request that a gateway gave up counts as spent."""
        failure = super()._explain(error)
        if isinstance(failure, NoAnswerError) and getattr(error, "status_code", None) in GATEWAY_TIMEOUTS:
            failure.charged = True
        return failure

    def _download(self, url: str) -> bytes:
        """Fetch an image from its address, without the key, which is the endpoint's alone.

        Raises:
            InputError: The address is not one to fetch from, or gives too much.
            NoAnswerError: It gives no image now.
        """
        import httpx2

        limit, content = self._at.timeout_s, bytearray()
        until = time.monotonic() + limit
        try:
            place = self._place(url)
            with httpx2.stream("GET", url, timeout=limit, headers={"accept-encoding": "identity"}) as answer:
                if answer.status_code != httpx2.codes.OK:
                    raise NoAnswerError(f"{answer.status_code} from {place}")
                for chunk in answer.iter_raw():
                    content += chunk
                    if len(content) > MOST_BYTES:
                        raise InputError(f"{self._at.entry}: {place} gives an image of more than {MOST_BYTES} bytes")
                    if time.monotonic() > until:
                        raise NoAnswerError(f"no whole image from {place} within {limit:g} s")
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            failure = NoAnswerError(self._at.safe(f"no image from its address ({type(error).__name__}: {error})"))
        else:
            return bytes(content)
        raise failure

    def _place(self, url: str) -> str:
        """Where an address leads, for messages, which do not show what it signs itself with.

        Raises:
            InputError: It is not one to fetch from: only https is, and http from an endpoint's own host.
        """
        import httpx2

        address, own = httpx2.URL(url), httpx2.URL(self.config.base_url)
        place = self._at.safe(f"{address.scheme}://{address.host}")
        if address.scheme == "https" or (address.scheme, address.host) == (own.scheme, own.host):
            return place
        raise InputError(
            f"{self._at.entry}: {self.config.base_url} gives an image at {place}, and only https is fetched from; set "
            f"{self._at.entry}.settings: {{response_format: b64_json}} if the model takes that"
        )


def _decoded(text: str) -> bytes:
    """The bytes of an image in base64, which some endpoints send in lines."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise ScoreError(f"the answer holds no image in base64 ({error})") from error
