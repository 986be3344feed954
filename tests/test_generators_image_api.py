"""A hosted image model, against a local server that speaks like the endpoint and misbehaves in every known way."""

import base64
import io
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import deep_png, prompts_table
from makers import RAW
from PIL import Image
from pydantic import ValidationError
from workspaces import merged

from promptavideo.config import check
from promptavideo.errors import InputError
from promptavideo.filming import film_shard
from promptavideo.generators import image_api
from promptavideo.generators.image_api import OpenAIImageConfig, OpenAIImageGenerator
from promptavideo.generators.orders import ImageBudget, Orders
from promptavideo.shots import Shot
from promptavideo.store import Entry, Store, read_manifest
from promptavideo.study import Study

KEY = "sk-this-is-secret"
Answer = tuple[int, Any]
"""Status and body: JSON, bytes, or None to hang up; headers are a key of the JSON."""

TEXTS = ["a ball", "a box", "a red ball"]


def pixels(text: str, size: tuple[int, int] = (32, 16)) -> Any:
    """What the studio paints of a text."""
    noise = np.random.default_rng(list(text.encode()))
    return noise.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def packed(image: Any, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, form, **options)
    return buffer.getvalue()


def b64(content: bytes) -> Answer:
    return 200, {"created": 1, "data": [{"b64_json": base64.b64encode(content).decode()}]}


class Studio:
    """Paints an image of each text, unless told otherwise."""

    url: str

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.asked: Counter[str] = Counter()
        self.fetched: Counter[str] = Counter()
        self.keys: set[str | None] = set()
        self.keys_of_files: set[str | None] = set()
        self.on_create: Callable[[str, int], Answer | None] = lambda text, nth: None
        self.on_file: Callable[[str, int], Answer | None] = lambda name, nth: None
        self.lock = threading.Lock()

    def create(self, body: dict[str, Any]) -> Answer:
        text = body["prompt"]
        with self.lock:
            self.bodies.append(body)
            self.asked[text] += 1
            nth = self.asked[text]
        return self.on_create(text, nth) or b64(packed(pixels(text)))

    def file(self, name: str) -> Answer:
        with self.lock:
            self.fetched[name] += 1
            nth = self.fetched[name]
        return self.on_file(name, nth) or (200, packed(pixels(name)))

    def at(self, text: str, host: str = "127.0.0.1") -> Answer:
        """An answer that gives the address of an image."""
        port = self.url.removesuffix("/v1").rpartition(":")[2]
        name = text.replace(" ", "%20")
        return 200, {"created": 1, "data": [{"url": f"http://{host}:{port}/files/{name}?signature=abc"}]}


@pytest.fixture
def studio() -> Iterator[Studio]:
    made = Studio()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.keys.add(self.headers["authorization"])
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self.answer(made.create(body) if self.path == "/v1/images/generations" else (404, {}))

        def do_GET(self) -> None:
            made.keys_of_files |= {self.headers["authorization"], self.headers["api-key"]}
            name = self.path.partition("?")[0].removeprefix("/files/").replace("%20", " ")
            self.answer(made.file(name))

        def answer(self, answer: Answer) -> None:
            status, body = answer
            if body is None:
                self.close_connection = True
                return
            headers = body.pop("headers", {}) if isinstance(body, dict) else {}
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-type", "application/json" if raw is not body else "image/png")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            if raw.startswith(b"slow"):
                for byte in raw:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.05)
                return
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_port}/v1"
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_KEY", KEY)


def configure(studio: Studio, **fields: Any) -> OpenAIImageConfig:
    given = {
        "kind": "openai-image",
        "base_url": studio.url,
        "model": "paints-1",
        "key_variable": "STUDIO_KEY",
        "size": "32x16",
        "settings": {"quality": "high"},
        "batch_size": 2,
        "request_timeout_s": 10.0,
        "retries": {"attempts": 3, "first_wait_s": 0.01, "longest_asked_wait_s": 5.0},
        "price_per_image": 0.1,
        "seconds_per_video": 1.0,
    }
    return OpenAIImageConfig.model_validate({**given, **fields})


def generator(studio: Studio, work: Path, **fields: Any) -> OpenAIImageGenerator:
    return OpenAIImageGenerator(configure(studio, **fields), "generators.paints", work)


def film(studio: Studio, root: Path, texts: list[str] = TEXTS, replicates: int = 1, **fields: Any) -> list[Entry]:
    store = Store(root / "store", "paints", "image")
    made = generator(studio, store.work, **fields)
    film_shard(prompts_table({"x": texts}, replicates), made, store, root / "m.jsonl", "film")
    return read_manifest(root / "m.jsonl")


def stored(root: Path) -> int:
    return len(list((root / "store/paints/images").rglob("*.png")))


def spent(root: Path) -> tuple[float, float]:
    images, money = Orders(root / "store/paints/work/ledger.jsonl", "generators.paints", "image").spent()
    return images, round(money, 6)


def left(root: Path) -> list[Path]:
    """Images that were paid for and are not stored."""
    return list((root / "store/paints/work").glob("*.image"))


class TestFilm:
    def test_images_are_asked_for_and_stored_without_loss(self, studio: Studio, tmp_path: Path) -> None:
        entries = film(studio, tmp_path)
        assert {(entry.frames, entry.fps, entry.device) for entry in entries} == {(1, 0.0, "paints-1 at 127.0.0.1")}
        store = Store(tmp_path / "store", "paints", "image")
        for entry, text in zip(entries, TEXTS, strict=True):
            assert store.video(entry.key).suffix == ".png"
            assert np.array_equal(store.read(entry, tmp_path / "m.jsonl").frames[0], pixels(text))
        expected = [{"model": "paints-1", "prompt": text, "size": "32x16", "quality": "high"} for text in TEXTS]
        assert sorted(studio.bodies, key=lambda body: body["prompt"]) == expected
        assert studio.keys == {f"Bearer {KEY}"}
        assert spent(tmp_path) == (3, 0.3) and not left(tmp_path)
        film(studio, tmp_path)
        assert studio.asked.total() == 3  # nothing is asked again

    def test_what_an_endpoint_wants_in_each_request_is_a_setting(self, studio: Studio, tmp_path: Path) -> None:
        film(studio, tmp_path, ["a ball"], settings={"response_format": "b64_json", "steps": 9, "hd": True})
        (body,) = studio.bodies
        assert (body["response_format"], body["steps"], body["hd"]) == ("b64_json", 9, True)
        assert "quality" not in body and "n" not in body

    @pytest.mark.parametrize(("form", "options"), [("JPEG", {"quality": 90}), ("WEBP", {"lossless": True})])
    def test_other_forms_are_decoded(self, studio: Studio, tmp_path: Path, form: str, options: dict[str, Any]) -> None:
        content = packed(pixels("a ball"), form, **options)
        studio.on_create = lambda text, nth: b64(content)
        (entry,) = film(studio, tmp_path, ["a ball"])
        store = Store(tmp_path / "store", "paints", "image")
        assert store.video(entry.key).read_bytes().startswith(b"\x89PNG")
        decoded = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        assert np.array_equal(store.read(entry, tmp_path / "m.jsonl").frames[0], decoded)

    def test_base64_in_lines_is_decoded(self, studio: Studio, tmp_path: Path) -> None:
        lines = base64.encodebytes(packed(pixels("a ball"))).decode()
        studio.on_create = lambda text, nth: (200, {"data": [{"b64_json": lines}]})
        film(studio, tmp_path, ["a ball"])
        assert stored(tmp_path) == 1

    def test_replicates_are_other_images(self, studio: Studio, tmp_path: Path) -> None:
        studio.on_create = lambda text, nth: b64(packed(pixels(f"{text} {nth}")))
        one, two = film(studio, tmp_path, ["a ball"], replicates=2)
        assert one.key != two.key and one.sha256 != two.sha256

    def test_a_call_asks_at_a_time_and_no_image_depends_on_it(self, studio: Studio, tmp_path: Path) -> None:
        together = threading.Barrier(3)

        def meet(text: str, nth: int) -> None:
            together.wait(10)

        studio.on_create = meet
        at_a_time = film(studio, tmp_path / "3", batch_size=3)
        studio.on_create = lambda text, nth: None
        assert film(studio, tmp_path / "1", batch_size=1) == at_a_time

    def test_no_library_of_ours_is_recorded(self, studio: Studio, tmp_path: Path) -> None:
        assert generator(studio, tmp_path).environment() == {}


class TestAddresses:
    """Answers that give the address of an image in place of the image."""

    def test_an_image_is_fetched_without_the_key(self, studio: Studio, tmp_path: Path) -> None:
        studio.on_create = lambda text, nth: studio.at(text)
        entries = film(studio, tmp_path)
        store = Store(tmp_path / "store", "paints", "image")
        for entry, text in zip(entries, TEXTS, strict=True):
            assert np.array_equal(store.read(entry, tmp_path / "m.jsonl").frames[0], pixels(text))
        assert studio.keys_of_files == {None} and spent(tmp_path) == (3, 0.3)

    def test_another_host_is_asked_over_https_only(self, studio: Studio, tmp_path: Path) -> None:
        studio.on_create = lambda text, nth: studio.at(text, "localhost")
        with pytest.raises(
            InputError, match=r"gives an image at http://localhost, and only https .*b64_json"
        ) as caught:
            film(studio, tmp_path, ["a ball"])
        assert "signature" not in str(caught.value)
        assert not studio.fetched and studio.asked["a ball"] == 1 and spent(tmp_path) == (1, 0.1)

    @pytest.mark.parametrize(
        ("base", "url", "fetched"),
        [
            ("https://paints.example/v1", "https://files.example/a.png", True),
            ("https://paints.example/v1", "http://paints.example/a.png", False),
            ("http://paints.example/v1", "http://paints.example:81/a.png", True),
            ("http://paints.example/v1", "http://files.example/a.png", False),
            ("http://paints.example/v1", "file:///etc/hostname", False),
            ("http://paints.example/v1", "data:image/png;base64,AAAA", False),
            ("http://paints.example/v1", "/a.png", False),
        ],
    )
    def test_what_is_fetched_from(self, studio: Studio, tmp_path: Path, base: str, url: str, fetched: bool) -> None:
        made = generator(studio, tmp_path, base_url=base)
        if fetched:
            assert made._place(url).startswith(url.partition(":")[0])
        else:
            with pytest.raises(InputError, match="only https is fetched from"):
                made._place(url)

    def test_a_fetch_that_fails_is_repeated_and_not_paid_for_again(self, studio: Studio, tmp_path: Path) -> None:
        studio.on_create = lambda text, nth: studio.at(text)
        studio.on_file = lambda name, nth: (503, {}) if nth == 1 else (200, None) if nth == 2 else None
        film(studio, tmp_path, ["a ball"])
        assert studio.fetched["a ball"] == 3 and spent(tmp_path) == (1, 0.1)

    def test_a_fetch_that_goes_on_failing_ends(self, studio: Studio, tmp_path: Path) -> None:
        studio.on_create = lambda text, nth: studio.at(text) if text == "a box" else None
        studio.on_file = lambda name, nth: (404, {})
        with pytest.raises(InputError, match=r"does not answer \(404 from http://127.0.0.1\)"):
            film(studio, tmp_path)
        assert studio.fetched["a box"] == 3 and studio.asked["a box"] == 1

    def test_no_address_leads_to_another(self, studio: Studio, tmp_path: Path) -> None:
        studio.on_create = lambda text, nth: studio.at(text)
        studio.on_file = lambda name, nth: (302, {"headers": {"location": "/files/elsewhere"}})
        with pytest.raises(InputError, match="302 from"):
            film(studio, tmp_path, ["a ball"])
        assert "elsewhere" not in studio.fetched

    @pytest.mark.parametrize("url", ["https://", "https://[", "https://\x00"])
    def test_what_is_no_address_ends(self, studio: Studio, tmp_path: Path, url: str) -> None:
        studio.on_create = lambda text, nth: (200, {"data": [{"url": url}]})
        with pytest.raises(InputError, match="no image from its address"):
            film(studio, tmp_path, ["a ball"])

    def test_a_file_is_not_read_beyond_a_limit(
        self, studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(image_api, "MOST_BYTES", 1000)
        studio.on_create = lambda text, nth: studio.at(text)
        with pytest.raises(InputError, match="gives an image of more than 1000 bytes"):
            film(studio, tmp_path, ["a ball"])
        assert studio.fetched["a ball"] == 1

    def test_a_file_that_trickles_is_not_waited_for(self, studio: Studio, tmp_path: Path) -> None:
        studio.on_create = lambda text, nth: studio.at(text)
        studio.on_file = lambda name, nth: (200, b"slow" + bytes(100))
        with pytest.raises(InputError, match=r"no whole image from http://127.0.0.1 within 1 s"):
            film(studio, tmp_path, ["a ball"], request_timeout_s=1.0, retries={"attempts": 1})


class TestFailures:
    def test_too_many_requests_and_server_errors_pass(self, studio: Studio, tmp_path: Path) -> None:
        def busy(text: str, nth: int) -> Answer | None:
            if nth == 1:
                error = {"message": "slow down", "code": "rate_limit_exceeded"}
                return 429, {"error": error, "headers": {"retry-after": "0.05"}}
            return (500, {}) if nth == 2 else None

        studio.on_create = busy
        film(studio, tmp_path)
        assert set(studio.asked.values()) == {3} and spent(tmp_path) == (3, 0.3)

    def test_failures_that_do_not_pass_end_and_the_next_run_goes_on(self, studio: Studio, tmp_path: Path) -> None:
        studio.on_create = lambda text, nth: (500, {}) if text == "a box" else None
        with pytest.raises(InputError, match=r"generators.paints: .* does not answer \(500"):
            film(studio, tmp_path, batch_size=3)
        assert stored(tmp_path) == 2 and studio.asked == {"a ball": 1, "a box": 3, "a red ball": 1}
        assert spent(tmp_path) == (2, 0.2)
        studio.on_create = lambda text, nth: None
        film(studio, tmp_path)
        assert studio.asked == {"a ball": 1, "a box": 4, "a red ball": 1} and spent(tmp_path) == (3, 0.3)

    @pytest.mark.parametrize("lost", [(200, None), (200, b"no JSON"), (504, {}), (524, {})])
    def test_an_image_whose_answer_is_lost_counts_as_spent(self, studio: Studio, tmp_path: Path, lost: Answer) -> None:
        studio.on_create = lambda text, nth: lost if nth == 1 else None
        film(studio, tmp_path, ["a ball"])
        assert studio.asked["a ball"] == 2 and spent(tmp_path) == (2, 0.2)

    def test_an_endpoint_that_asks_to_wait_too_long_ends_the_run(self, studio: Studio, tmp_path: Path) -> None:
        studio.on_create = lambda text, nth: (429, {"error": {"message": "later"}, "headers": {"retry-after": "900"}})
        with pytest.raises(InputError, match="does not answer"):
            film(studio, tmp_path, ["a ball"])
        assert studio.asked["a ball"] == 1

    @pytest.mark.parametrize(
        ("status", "error", "words"),
        [
            (401, {"message": f"Incorrect API key: {KEY}"}, r"key_variable: .* does not accept the key .*\*\*\*"),
            (404, {"message": "gone", "code": "model_not_found"}, r"paints\.model: .* does not know paints-1"),
            (429, {"message": "pay", "code": "insufficient_quota"}, "no credit left"),
            (
                400,
                {"message": "Unknown parameter: 'response_format'."},
                "does not accept the request .*response_format",
            ),
        ],
    )
    def test_what_does_not_pass_stops_at_once(
        self, studio: Studio, tmp_path: Path, status: int, error: dict[str, str], words: str
    ) -> None:
        studio.on_create = lambda text, nth: (status, {"error": error})
        with pytest.raises(InputError, match=words) as caught:
            film(studio, tmp_path)
        assert KEY not in str(caught.value)
        assert studio.asked.total() == 2 and spent(tmp_path) == (0, 0)  # those of one call

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            ((200, {"data": [{"b64_json": "not base64!"}]}), "the answer holds no image in base64"),
            ((200, {"data": [{"b64_json": "AAA"}]}), "the answer holds no image in base64"),
            ((200, {"data": []}), "the answer holds no image"),
            ((200, {"data": [{}]}), "the answer holds no image"),
            ((200, {"created": 1}), "the answer holds no image"),
            (b64(b"no image"), "cannot be decoded"),
            (b64(b""), "the answer holds no image"),
            (b64(packed(pixels("x"))[:-300]), "cannot be decoded"),
            (b64(packed(pixels("x"), "TIFF")), "cannot be decoded"),  # a form that no endpoint is known to send
            (b64(deep_png(0, 0)), "cannot be decoded"),
            (b64(packed(Image.new("1", (20_000, 20_000)))), r"cannot be decoded .*decompression bomb"),
        ],
    )
    def test_what_is_no_image_is_asked_for_once_more(
        self, studio: Studio, tmp_path: Path, answer: Answer, words: str
    ) -> None:
        studio.on_create = lambda text, nth: answer if text == "a box" and nth < 3 else None
        with pytest.raises(InputError, match=rf"asked for twice and none came \(.*{words}.*a box"):
            film(studio, tmp_path, batch_size=3)
        assert studio.asked["a box"] == 2 and stored(tmp_path) == 2
        assert spent(tmp_path) == (4, 0.4) and not left(tmp_path)
        film(studio, tmp_path)
        assert studio.asked["a box"] == 3

    def test_a_damaged_image_is_followed_by_a_sound_one(self, studio: Studio, tmp_path: Path) -> None:
        studio.on_create = lambda text, nth: b64(packed(pixels(text))[:-300]) if nth == 1 else None
        film(studio, tmp_path)
        assert stored(tmp_path) == 3 and spent(tmp_path) == (6, 0.6)

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (packed(Image.new("CMYK", (32, 16)), "JPEG"), "mode CMYK, not 8-bit RGB"),
            (packed(Image.fromarray(np.zeros((16, 32), np.uint16))), "mode I;16, not 8-bit RGB"),
            (deep_png(32, 16), "mode RGB;16B, not 8-bit RGB"),
            (packed(Image.new("RGBA", (32, 16))), "mode RGBA, not 8-bit RGB"),
            (packed(pixels("x", (64, 16))), "width 64, not 32"),
            (packed(pixels("x", (32, 15))), "height 15, not 16"),
            (packed(Image.new("L", (9000, 9000))), "9000 x 9000 pixels are more than"),
        ],
    )
    def test_an_image_of_another_sort_is_named_kept_and_not_paid_for_again(
        self, studio: Studio, tmp_path: Path, content: bytes, words: str
    ) -> None:
        studio.on_create = lambda text, nth: b64(content) if text == "a ball" and nth == 1 else None
        for _ in range(2):
            with pytest.raises(InputError, match=rf"generators.paints: .*{words}.*delete the file to pay for another"):
                film(studio, tmp_path, batch_size=3)
            assert stored(tmp_path) == 2 and studio.asked == dict.fromkeys(TEXTS, 1)
        (path,) = left(tmp_path)
        path.unlink()
        film(studio, tmp_path)
        assert stored(tmp_path) == 3 and spent(tmp_path) == (4, 0.4)

    def test_a_killed_job_does_not_pay_again_for_what_came(
        self, studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def die(*_: Any) -> None:
            while len(left(tmp_path)) < 2:
                time.sleep(0.01)
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(Store, "put", die)
            with pytest.raises(KeyboardInterrupt):
                film(studio, tmp_path)
        assert stored(tmp_path) == 0 and studio.asked.total() == 2
        film(studio, tmp_path)
        assert studio.asked == dict.fromkeys(TEXTS, 1) and spent(tmp_path) == (3, 0.3) and not left(tmp_path)

    def test_nobody_waits_to_try_again_once_the_work_has_stopped(self, studio: Studio, tmp_path: Path) -> None:
        studio.on_create = lambda text, nth: (500, {}) if text == "a box" else None
        retries = {"attempts": 2, "first_wait_s": 20.0}
        films = generator(studio, tmp_path, retries=retries).film([Shot("a ball", None, 1), Shot("a box", None, 1)])
        next(films)
        while not studio.asked["a box"]:
            time.sleep(0.01)
        begun = time.monotonic()
        films.close()  # type: ignore[attr-defined]
        assert time.monotonic() - begun < 5 and studio.asked["a box"] == 1


class TestRefusals:
    @pytest.mark.parametrize("code", ["moderation_blocked", "content_policy_violation"])
    def test_are_reported_by_prompt_and_never_asked_again(self, studio: Studio, tmp_path: Path, code: str) -> None:
        error = {"code": code, "message": "not this"}
        studio.on_create = lambda text, nth: (400, {"error": dict(error)}) if text == "a box" else None
        for when in ("", r"when asked before; .*ledger\.jsonl"):
            with pytest.raises(InputError, match=rf"candidate 1: refused by the content filter .*not this.*{when}"):
                film(studio, tmp_path)
            assert stored(tmp_path) == 2 and studio.asked["a box"] == 1
        assert spent(tmp_path) == (2, 0.2)

    def test_a_black_image_is_one(self, studio: Studio, tmp_path: Path) -> None:
        black = packed(np.zeros((16, 32, 3), np.uint8))
        studio.on_create = lambda text, nth: b64(black) if text == "a box" else None
        for _ in range(2):
            with pytest.raises(InputError, match=r"candidate 1: the image is wholly black"):
                film(studio, tmp_path)
            assert stored(tmp_path) == 2 and studio.asked["a box"] == 1 and not left(tmp_path)
        assert spent(tmp_path) == (3, 0.3)


class TestBudget:
    @pytest.mark.parametrize("batch_size", [1, 3])
    @pytest.mark.parametrize(("budget", "name"), [({"images": 2}, "images"), ({"money": 0.25}, "money")])
    def test_stops_cleanly_and_goes_on_when_raised(
        self, studio: Studio, tmp_path: Path, budget: dict[str, float], name: str, batch_size: int
    ) -> None:
        with pytest.raises(InputError, match=rf"generators\.paints\.budget\.{name}: the budget is used up.*next image"):
            film(studio, tmp_path, budget=budget, batch_size=batch_size)
        assert (stored(tmp_path), studio.asked.total()) == (2, 2)
        film(studio, tmp_path, budget={name: 100})
        assert studio.asked == dict.fromkeys(TEXTS, 1) and spent(tmp_path) == (3, 0.3)

    def test_jobs_and_threads_that_run_at_a_time_share_it(self, tmp_path: Path) -> None:
        jobs = [Orders(tmp_path / "ledger.jsonl", "x", "image") for _ in range(2)]
        allowed: list[str] = []

        def ask(orders: Orders, key: str) -> None:
            try:
                orders.ask(key, 1, 0.1, ImageBudget(images=10))
            except InputError:
                return
            allowed.append(key)

        threads = [threading.Thread(target=ask, args=(jobs[place % 2], str(place))) for place in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(allowed) == 10 and jobs[0].spent() == (10, pytest.approx(1.0))

    def test_the_ledger_has_a_line_of_each_event(self, studio: Studio, tmp_path: Path) -> None:
        studio.on_create = lambda text, nth: (500, {}) if nth == 1 else (400, {"error": {"code": "content_filter"}})
        with pytest.raises(InputError):
            film(studio, tmp_path, ["a ball"])
        lines = [json.loads(line) for line in (tmp_path / "store/paints/work/ledger.jsonl").read_text().splitlines()]
        assert [(line["event"], line["images"], line["money"]) for line in lines] == [
            ("asked", 1, 0.1), ("released", 1, 0.1), ("asked", 1, 0.1), ("released", 1, 0.1), ("refused", 0, 0),
        ]  # fmt: skip
        assert all(line.keys() == {"event", "key", "images", "money", "note", "time"} for line in lines)


class TestConfig:
    def test_is_of_images_costs_money_and_films_elsewhere(self, studio: Studio, tmp_path: Path) -> None:
        entry = configure(studio)
        assert (entry.filmed, entry.price, entry.films_here, entry.takes_negative) == ("image", 0.1, False, False)
        assert configure(studio, price_per_image=None).price == 0
        assert entry.strangers([]) == f"paints-1 at {studio.url}"
        assert isinstance(entry.load("paints", [], tmp_path), OpenAIImageGenerator)
        with pytest.raises(InputError, match=r"generators\.paints: needs a folder"):
            entry.load("paints", [], None)

    def test_a_missing_key_is_named(self, studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("STUDIO_KEY")
        for ask in (lambda: configure(studio).ready("generators.paints"), lambda: generator(studio, tmp_path)):
            with pytest.raises(InputError, match=r"generators\.paints\.key_variable: .* STUDIO_KEY is not set"):
                ask()

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"key_variable": KEY}, "name of an environment variable"),
            ({"base_url": "https://user:word@example.org"}, "no user, password"),
            ({"base_url": "file:///images"}, "http or https"),
            ({"budget": {"money": 1.0}, "price_per_image": None}, "budget.money needs price_per_image"),
            ({"budget": {"seconds": 1.0}}, "budget.seconds"),
            ({"budget": {"images": 0}}, "budget.images"),
            ({"size": "1024"}, "size"),
            ({"size": "auto"}, "size"),
            ({"settings": {"n": 2, "model": "x"}}, "settings must not hold model, n"),
            ({"settings": {"prompt": "x"}}, "settings must not hold prompt"),
            ({"settings": {"size": "1x1"}}, "settings must not hold size"),
            ({"settings": {"stream": True}}, "settings must not hold stream"),
            ({"settings": {"quality": ["high"]}}, "settings.quality"),
            ({"settings": {"steps": "9"}}, "YAML reads this as text"),
            ({"fps": 8.0}, "fps"),
            ({"arguments": {}}, "arguments"),
        ],
    )
    def test_unusable_settings_are_refused(self, studio: Studio, fields: dict[str, Any], words: str) -> None:
        with pytest.raises(ValidationError, match=words) as caught:
            configure(studio, **fields)
        assert KEY not in str(caught.value) or "key_variable" not in fields

    def test_the_key_of_an_image_has_its_seed_though_the_endpoint_takes_none(
        self, studio: Studio, tmp_path: Path
    ) -> None:
        def key(seed: int = 1, **fields: Any) -> str:
            return generator(studio, tmp_path, **fields).key(Shot("a ball", None, seed))

        keys = [key(), key(2), key(model="paints-2"), key(size="64x32"), key(settings={}), key(settings={"hd": True})]
        assert len(set(keys)) == len(keys)
        plans: list[dict[str, Any]] = [
            {"batch_size": 9}, {"budget": {"images": 4}}, {"price_per_image": 9.0}, {"threads": 2},
            {"request_timeout_s": 9.0}, {"retries": {"attempts": 1}}, {"seconds_per_video": 9.0},
        ]  # fmt: skip
        assert {key(**fields) for fields in plans} == {key()}

    def test_an_entry_is_a_track_of_images(self) -> None:
        entry = {
            "kind": "openai-image", "base_url": "https://paints.example/v1", "model": "paints-1", "size": "1024x1024",
            "settings": {"quality": "high", "style": None}, "seconds_per_video": 20.0,
        }  # fmt: skip
        study = Study(check(merged(RAW, {"generators": {"paints": entry}}), Path(__file__).parents[1]), Path())
        assert study.medium("paints") == "image"
        assert study.config.generators["paints"].decides()["arguments"] == {"quality": "high"}
        assert [metric.name for metric in study.objective("paints")] == ["AES", "MPS"]


def test_no_key_is_in_what_is_written_or_said(studio: Studio, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "promptavideo")
    said = {"error": {"message": f"busy, {KEY}"}}
    studio.on_create = lambda text, nth: (503, said) if nth == 1 else (400, {"error": {"message": f"{KEY} is odd"}})
    with pytest.raises(InputError, match=r"\*\*\* is odd") as caught:
        film(studio, tmp_path, ["a ball"])
    studio.on_create = lambda text, nth: (400, {"error": {"message": KEY, "code": "content_filter"}})
    with pytest.raises(InputError, match=r"content filter \(400: \*\*\*\)") as refused:
        film(studio, tmp_path, ["a box"])
    studio.on_create = lambda text, nth: studio.at(f"{text}{KEY}")
    studio.on_file = lambda name, nth: (500, {})
    with pytest.raises(InputError, match="500 from") as unfetched:
        film(studio, tmp_path, ["a cup"])
    studio.on_create = lambda text, nth: None
    film(studio, tmp_path, ["a ball", "a cup"])
    for error in (caught, refused, unfetched):
        chain: BaseException | None = error.value
        while chain is not None:
            assert KEY not in str(chain)
            chain = chain.__cause__ or chain.__context__
    assert "next attempt" in caplog.text and KEY not in caplog.text
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
