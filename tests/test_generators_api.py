"""A hosted video model, against a local server that speaks like the endpoint and misbehaves in every known way."""

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import prompts_table
from pydantic import ValidationError

from promptavideo.errors import InputError
from promptavideo.filming import film_shard
from promptavideo.generators.api import OpenAIVideoConfig, OpenAIVideoGenerator
from promptavideo.generators.orders import Orders, VideoBudget
from promptavideo.shots import Shot, shots_of
from promptavideo.store import Entry, Store, read_manifest
from promptavideo.video import Clip, write_video

KEY = "sk-this-is-secret"
Answer = tuple[int, Any]
"""Status and body: JSON, bytes, or None to hang up."""


class Studio:
    """Makes a video of each order after two questions, unless told otherwise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.orders: dict[str, str] = {}
        self.asked: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.forms: list[str] = []
        self.on_create: Callable[[str, int], Answer | None] = lambda text, nth: None
        self.on_status: Callable[[str, int], Answer | None] = lambda text, nth: None
        self.on_content: Callable[[str, int], Answer | None] = lambda text, nth: None
        self.size = (32, 16)

    def create(self, form: str) -> Answer:
        self.forms.append(form)
        text = field(form, "prompt")
        self.asked[text] += 1
        answer = self.on_create(text, self.asked[text])
        if answer is not None:
            return answer
        id_ = f"video_{len(self.orders)}"
        self.orders[id_] = text
        return 200, self.video(id_, "queued")

    def status(self, id_: str) -> Answer:
        if id_ not in self.orders:
            return 404, {"error": {"message": "no such video", "code": "not_found"}}
        self.asked[id_] += 1
        answer = self.on_status(self.orders[id_], self.asked[id_])
        states = ("queued", "in_progress", "completed")
        return answer or (200, self.video(id_, states[min(self.asked[id_] - 1, 2)]))

    def content(self, id_: str) -> Answer:
        self.asked[f"{id_}/content"] += 1
        answer = self.on_content(self.orders[id_], self.asked[f"{id_}/content"])
        if answer is not None:
            return answer
        return 200, self.film(id_)

    def film(self, id_: str) -> bytes:
        path = self.folder / f"{id_}.mp4"
        frames = np.random.default_rng(int(id_[6:])).integers(0, 256, (4, 1, 1, 3), dtype=np.uint8)
        write_video(Clip(np.tile(frames, (1, self.size[1], self.size[0], 1)), 8.0), path)
        return path.read_bytes()

    def video(self, id_: str, status: str, error: dict[str, str] | None = None) -> dict[str, Any]:
        return {
            "id": id_, "object": "video", "model": "sora-2", "status": status, "progress": 0, "created_at": 1,
            "seconds": "4", "size": "32x16", "error": error, "prompt": self.orders.get(id_),
        }  # fmt: skip


def field(form: str, name: str) -> str:
    found = re.search(rf'name="{name}"\r\n\r\n(.*?)\r\n--', form, re.DOTALL)
    assert found, form
    return found[1]


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Any]:
    (tmp_path / "made").mkdir()
    made = Studio(tmp_path / "made")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.answer(made.create(self.rfile.read(int(self.headers["content-length"])).decode()))

        def do_GET(self) -> None:
            id_, _, what = self.path.removeprefix("/v1/videos/").partition("/")
            self.answer(made.content(id_) if what.startswith("content") else made.status(id_))

        def answer(self, answer: Answer) -> None:
            made.keys.add(self.headers["authorization"])
            status, body = answer
            headers = body.pop("headers", {}) if isinstance(body, dict) else {}
            if body is None:
                self.close_connection = True
                return
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            length = len(raw) if status != 206 else len(raw) * 2  # 206: promises more than it sends
            self.send_header("content-type", "application/json" if raw is not body else "video/mp4")
            self.send_header("content-length", str(length))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_port}/v1"  # type: ignore[attr-defined]
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_KEY", KEY)


def configure(studio: Any, **fields: Any) -> OpenAIVideoConfig:
    given = {
        "kind": "openai-video",
        "base_url": studio.url,
        "model": "sora-2",
        "key_variable": "STUDIO_KEY",
        "size": "32x16",
        "seconds": 4,
        "batch_size": 2,
        "poll_s": 0.01,
        "timeout_s": 20.0,
        "request_timeout_s": 10.0,
        "retries": {"attempts": 3, "first_wait_s": 0.01, "longest_asked_wait_s": 5.0},
        "price_per_second": 0.1,
        "seconds_per_video": 1.0,
    }
    return OpenAIVideoConfig.model_validate({**given, **fields})


TEXTS = ["a ball", "a box", "a red ball"]


def film(studio: Any, root: Path, texts: list[str] = TEXTS, replicates: int = 1, **fields: Any) -> list[Entry]:
    store = Store(root / "store", "sora")
    generator = OpenAIVideoGenerator(configure(studio, **fields), "generators.sora", store.folder / "api")
    film_shard(prompts_table({"x": texts}, replicates), generator, store, root / "m.jsonl", "film")
    return read_manifest(root / "m.jsonl")


def spent(root: Path) -> tuple[float, float]:
    seconds, money = Orders(root / "store/sora/api/ledger.jsonl", "generators.sora").spent()
    return seconds, round(money, 6)


def stored(root: Path) -> int:
    return len(list((root / "store/sora/videos").rglob("*.mp4")))


class TestFilm:
    def test_videos_are_ordered_waited_for_and_fetched(self, studio: Any, tmp_path: Path) -> None:
        entries = film(studio, tmp_path)
        assert len({entry.sha256 for entry in entries}) == 3
        assert {(entry.frames, entry.fps, entry.device) for entry in entries} == {(4, 8.0, "sora-2 at 127.0.0.1")}
        assert sorted(studio.orders.values()) == sorted(TEXTS)
        form = studio.forms[0]
        assert [field(form, name) for name in ("model", "size", "seconds")] == ["sora-2", "32x16", "4"]
        assert studio.keys == {f"Bearer {KEY}"}
        assert spent(tmp_path) == (12.0, 1.2)
        assert not list((tmp_path / "store/sora/api").glob("*.mp4"))
        film(studio, tmp_path)
        assert len(studio.orders) == 3  # nothing is ordered again

    def test_its_owners_libraries_are_not_ours(self, studio: Any, tmp_path: Path) -> None:
        generator = OpenAIVideoGenerator(configure(studio), "generators.sora", tmp_path)
        assert generator.environment() == {}

    def test_replicates_are_other_videos(self, studio: Any, tmp_path: Path) -> None:
        one, two = film(studio, tmp_path, ["a ball"], replicates=2)
        assert one.key != two.key and one.sha256 != two.sha256

    def test_an_order_of_a_killed_job_is_fetched_and_not_paid_for_twice(self, studio: Any, tmp_path: Path) -> None:
        def die(id_: str) -> None:
            raise KeyboardInterrupt

        generator = OpenAIVideoGenerator(configure(studio), "generators.sora", tmp_path / "store/sora/api")
        generator._wait = die  # type: ignore[method-assign,assignment]
        with pytest.raises(KeyboardInterrupt):
            rows = prompts_table({"x": TEXTS})
            film_shard(rows, generator, Store(tmp_path / "store", "sora"), tmp_path / "m.jsonl", "film")
        assert len(studio.orders) == 2
        film(studio, tmp_path)
        assert len(studio.orders) == 3

    def test_an_order_that_expired_is_placed_anew(self, studio: Any, tmp_path: Path) -> None:
        Orders(tmp_path / "store/sora/api/ledger.jsonl", "x").accept(
            OpenAIVideoGenerator(configure(studio), "generators.sora", tmp_path).key(
                *shots_of(prompts_table({"x": ["a ball"]}))
            ),
            "video_99",
        )
        film(studio, tmp_path, ["a ball"])
        assert list(studio.orders.values()) == ["a ball"]

    def test_another_size_than_ordered_is_named(self, studio: Any, tmp_path: Path) -> None:
        studio.size = (64, 16)
        with pytest.raises(InputError, match=r"width 64, not 32"):
            film(studio, tmp_path)


class TestFailures:
    def test_too_many_requests_and_server_errors_pass(self, studio: Any, tmp_path: Path) -> None:
        busy = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}, "headers": {"retry-after": "0.05"}}
        studio.on_create = lambda text, nth: (429, dict(busy)) if nth == 1 else (500, {}) if nth == 2 else None
        studio.on_status = lambda text, nth: (503, {}) if nth == 1 else None
        film(studio, tmp_path)
        assert spent(tmp_path) == (12.0, 1.2)

    def test_failures_that_do_not_pass_end_and_keep_what_is_there(self, studio: Any, tmp_path: Path) -> None:
        studio.on_create = lambda text, nth: (500, {}) if text == "a red ball" else None
        with pytest.raises(InputError, match=r"generators.sora: .* does not answer \(500"):
            film(studio, tmp_path)
        assert (stored(tmp_path), studio.asked["a red ball"]) == (2, 3)
        assert spent(tmp_path) == (8.0, 0.8)

    def test_an_order_without_an_answer_counts_as_spent(self, studio: Any, tmp_path: Path) -> None:
        studio.on_create = lambda text, nth: (200, None) if nth == 1 else None
        film(studio, tmp_path, ["a ball"])
        assert spent(tmp_path) == (8.0, 0.8)

    def test_an_endpoint_that_asks_to_wait_too_long_ends_the_run(self, studio: Any, tmp_path: Path) -> None:
        studio.on_create = lambda text, nth: (429, {"error": {"message": "later"}, "headers": {"retry-after": "900"}})
        with pytest.raises(InputError, match="does not answer"):
            film(studio, tmp_path, ["a ball"])
        assert studio.asked["a ball"] == 1

    @pytest.mark.parametrize(
        ("status", "error", "words"),
        [
            (401, {"message": f"Incorrect API key: {KEY}"}, r"key_variable: .* does not accept the key .*\*\*\*"),
            (403, {"message": "verify your organisation"}, r"key_variable: .* verify your organisation"),
            (404, {"message": "gone", "code": "model_not_found"}, r"generators\.sora\.model: .* does not know sora-2"),
            (429, {"message": "pay", "code": "insufficient_quota"}, "no credit left"),
            (400, {"message": "bad size", "code": "invalid_value"}, "does not accept the request .*bad size"),
        ],
    )
    def test_what_does_not_pass_stops_at_once(
        self, studio: Any, tmp_path: Path, status: int, error: dict[str, str], words: str
    ) -> None:
        studio.on_create = lambda text, nth: (status, {"error": error})
        with pytest.raises(InputError, match=words) as caught:
            film(studio, tmp_path)
        assert KEY not in str(caught.value)
        assert sum(studio.asked.values()) == 1
        assert spent(tmp_path) == (0.0, 0.0)

    def test_a_video_that_takes_too_long_is_taken_up_by_the_next_run(self, studio: Any, tmp_path: Path) -> None:
        studio.on_status = lambda text, nth: (200, studio.video("video_0", "in_progress"))
        with pytest.raises(InputError, match=r"video_0 is still in_progress after 0.1 s.*not paid for twice"):
            film(studio, tmp_path, ["a ball"], timeout_s=0.1)
        studio.on_status = lambda text, nth: None
        film(studio, tmp_path, ["a ball"])
        assert len(studio.orders) == 1

    def test_a_failed_video_is_ordered_once_more(self, studio: Any, tmp_path: Path) -> None:
        error = {"code": "internal_error", "message": "our fault"}
        fails = {"video_0"}
        studio.on_status = lambda text, nth: (
            (200, studio.video("video_0", "failed", error)) if len(studio.orders) == 1 and fails else None
        )
        film(studio, tmp_path, ["a ball"])
        assert len(studio.orders) == 2 and spent(tmp_path) == (8.0, 0.8)
        studio.on_status = lambda text, nth: (200, studio.video("video_9", "failed", error))
        with pytest.raises(InputError, match=r"ordered twice and could not be made \(internal_error: our fault\)"):
            film(studio, tmp_path, ["a box"])

    def test_a_download_that_breaks_off_is_repeated(self, studio: Any, tmp_path: Path) -> None:
        studio.on_content = lambda text, nth: (206, b"half a video") if nth == 1 else None
        film(studio, tmp_path, ["a ball"])
        assert studio.asked["video_0/content"] == 2

    def test_a_truncated_download_that_looks_whole_is_repeated(self, studio: Any, tmp_path: Path) -> None:
        studio.on_content = lambda text, nth: (200, studio.film("video_0")[:-200]) if nth == 1 else None
        film(studio, tmp_path, ["a ball"])
        assert studio.asked["video_0/content"] == 2 and len(studio.orders) == 1


class TestRefusals:
    @pytest.mark.parametrize("code", ["moderation_blocked", "sentinel_block", "content_policy_violation"])
    @pytest.mark.parametrize("when", ["on_create", "on_status"])
    def test_are_reported_by_prompt_and_never_asked_again(
        self, studio: Any, tmp_path: Path, code: str, when: str
    ) -> None:
        error = {"code": code, "message": "not this"}

        def refuse(text: str, nth: int) -> Answer | None:
            if text != "a box":
                return None
            return (400, {"error": error}) if when == "on_create" else (200, studio.video("v", "failed", error))

        setattr(studio, when, refuse)
        for _ in range(2):
            with pytest.raises(InputError, match=r"prompt px, candidate 1: refused by the content filter .*not this"):
                film(studio, tmp_path)
            assert stored(tmp_path) == 2
            assert studio.asked["a box"] == 1
        assert spent(tmp_path)[0] == (8.0 if when == "on_create" else 12.0)


class TestBudget:
    @pytest.mark.parametrize(("budget", "name"), [({"seconds": 8}, "seconds"), ({"money": 0.9}, "money")])
    def test_stops_cleanly_and_goes_on_when_raised(
        self, studio: Any, tmp_path: Path, budget: dict[str, float], name: str
    ) -> None:
        with pytest.raises(InputError, match=rf"generators\.sora\.budget\.{name}: the budget is used up"):
            film(studio, tmp_path, budget=budget)
        assert (stored(tmp_path), len(studio.orders)) == (2, 2)
        film(studio, tmp_path, budget={name: 100.0})
        assert len(studio.orders) == 3

    def test_jobs_that_run_at_a_time_share_it(self, tmp_path: Path) -> None:
        one, two = (Orders(tmp_path / "ledger.jsonl", "x") for _ in range(2))
        one.ask("a", 4, 0.4, VideoBudget(seconds=8))
        two.ask("b", 4, 0.4, VideoBudget(seconds=8))
        with pytest.raises(InputError, match="8 of 8 are spent"):
            one.ask("c", 4, 0.4, VideoBudget(seconds=8))
        two.release("b", 4, 0.4)
        one.ask("c", 4, 0.4, VideoBudget(seconds=8))

    def test_orders_of_earlier_runs_are_read(self, tmp_path: Path) -> None:
        lines = [("asked", "a", 4, 0.4, ""), ("accepted", "a", 0, 0, "v1"), ("asked", "b", 4.0, 0.4, "")]
        lines += [("released", "b", 4, 0.4, ""), ("refused", "b", 0, 0, "why"), ("gone", "a", 0, 0, "")]
        names = ("event", "key", "seconds", "money", "note", "time")
        path = tmp_path / "ledger.jsonl"
        path.write_text("".join(json.dumps(dict(zip(names, (*line, "x"), strict=True))) + "\n" for line in lines))
        orders = Orders(path, "x")
        assert orders.spent() == (4, 0.4) and orders.state("a") is None and orders.state("b") == ("refused", "why")
        orders.accept("a", "v2")
        assert json.loads(path.read_text().splitlines()[-1]).keys() == set(names)

    def test_a_damaged_line_counts_for_nothing_and_spoils_no_other(self, tmp_path: Path) -> None:
        path = tmp_path / "ledger.jsonl"
        Orders(path, "x").ask("a", 4, 0.4, VideoBudget())
        path.write_bytes(path.read_bytes()[:-20])
        orders = Orders(path, "x")
        orders.accept("b", "video_1")
        assert orders.spent() == (0, 0) and orders.state("b") == ("accepted", "video_1")
        assert len(path.read_text().splitlines()) == 2


class TestConfig:
    def test_a_missing_key_is_named(self, studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("STUDIO_KEY")
        with pytest.raises(InputError, match=r"generators\.sora\.key_variable: .* STUDIO_KEY is not set"):
            OpenAIVideoGenerator(configure(studio), "generators.sora", tmp_path)

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"key_variable": KEY}, "name of an environment variable"),
            ({"base_url": "https://user:word@example.org"}, "no user, password"),
            ({"budget": {"money": 1.0}, "price_per_second": None}, "budget.money needs price_per_second"),
            ({"size": "720p"}, "size"),
            ({"seconds": 4.5}, "seconds"),
        ],
    )
    def test_unusable_settings_are_refused(self, studio: Any, fields: dict[str, Any], words: str) -> None:
        with pytest.raises(ValidationError, match=words):
            configure(studio, **fields)

    def test_the_key_of_a_video_has_its_seed_though_the_endpoint_takes_none(self, studio: Any, tmp_path: Path) -> None:
        def key(seed: int = 1, **fields: Any) -> str:
            return OpenAIVideoGenerator(configure(studio, **fields), "generators.sora", tmp_path).key(
                Shot("a ball", None, seed)
            )

        keys = [key(), key(2), key(model="sora-2-pro"), key(size="64x32"), key(seconds=8)]
        assert len(set(keys)) == len(keys)
        assert {key(batch_size=9), key(poll_s=1.0), key(budget={"seconds": 4}), key(price_per_second=9.0)} == {key()}

    def test_no_key_is_in_what_is_written(self, studio: Any, tmp_path: Path) -> None:
        film(studio, tmp_path, ["a ball"])
        assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
