import email.utils
import json
import logging
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml
from chat_server import Answer, Asked, ChatServer, fails, says
from makers import METRICS, TO_FIVE
from pydantic import TypeAdapter, ValidationError

from promptavideo import registry, runfile
from promptavideo.config import check
from promptavideo.errors import InputError, OperatorError
from promptavideo.evolution import EvolutionConfig, first_round, next_round
from promptavideo.hosted import NoAnswerError, Retries
from promptavideo.layout import Layout
from promptavideo.metrics import PAPER
from promptavideo.operators import pace
from promptavideo.operators.asking import ask_variants
from promptavideo.operators.base import Answer as Said
from promptavideo.operators.base import Key, Operator, Request, TextLimits, parse_variants
from promptavideo.operators.chat import ChatConfig, ChatOperator
from promptavideo.operators.ledger import Budget, Ledger, Prices, Spent
from promptavideo.operators.recombine import RecombineConfig, RecombineOperator
from promptavideo.refiners.llm import LlmRefiner, LlmRefinerConfig
from promptavideo.schemas import PROMPT_SET, PROMPTS, read_table, write_table
from promptavideo.steps import batches
from promptavideo.study import Study

ROOT = Path(__file__).parent.parent
KEY = "sk-test-0123456789abcdef"
VARIABLE = "TEST_CHAT_KEY"
LIMITS = TextLimits()
NAME = "tested"

Script = Callable[[Asked], Answer]


@pytest.fixture(autouse=True)
def no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The key is set, and after every test it stands in no file and no log line."""
    monkeypatch.setenv(VARIABLE, KEY)
    caplog.set_level(logging.DEBUG)
    yield
    assert KEY not in caplog.text
    files = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


@pytest.fixture
def serve() -> Iterator[Callable[[Script], ChatServer]]:
    """Starts servers that end with the test."""
    servers: list[ChatServer] = []

    def start(script: Script) -> ChatServer:
        servers.append(ChatServer(script).__enter__())
        return servers[-1]

    yield start
    for server in servers:
        server.__exit__(None, None, None)


def config(server: ChatServer, **changed: Any) -> ChatConfig:
    settings: dict[str, Any] = {
        "kind": "chat",
        "base_url": server.base_url,
        "model": "asked-model",
        "key_variable": VARIABLE,
        "max_tokens": 50,
        "retries": {"attempts": 3, "first_wait_s": 0.01, "longest_wait_s": 0.05, "longest_asked_wait_s": 2.0},
    }
    return ChatConfig.model_validate(settings | changed)


def operator(server: ChatServer, store: Path, **changed: Any) -> ChatOperator:
    return ChatOperator(config(server, **changed), NAME, store)


def requests(count: int) -> list[Request]:
    return [Request(f"question {number}", ("g", 1, f"p{number}", 1)) for number in range(count)]


def echo(asked: Asked) -> Answer:
    return says(f"answer to {asked.message}")


def answers(count: int) -> list[str]:
    return [f"answer to question {number}" for number in range(count)]


def whole(count: int) -> list[Said]:
    return [Said(text) for text in answers(count)]


def kept(store: Path) -> list[Path]:
    return sorted((store / "chat/answers").rglob("*.json"))


def ledger(store: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (store / "chat/ledger.jsonl").read_text().splitlines()]


def shown(error: BaseException | None) -> str:
    """All that a traceback could show of an error, its causes included."""
    text = ""
    while error is not None:
        text += f"{error!r} {error} "
        error = error.__cause__ or error.__context__
    return text


# --- asking ---


def test_a_request_holds_the_settings_and_the_key_and_nothing_else(serve: Any, tmp_path: Path) -> None:
    server = serve(echo)
    plain = operator(server, tmp_path)
    assert plain.answer(Request("question", ("g", 1))) == "answer to question"
    full = operator(
        server,
        tmp_path,
        temperature=0.01,
        top_p=0.7,
        send_seed=True,
        max_tokens_field="max_completion_tokens",
        extra_body={"thinking": {"type": "disabled"}},
    )
    full.answer(Request("question", ("g", 1)))
    first, second = server.asked
    message = [{"role": "user", "content": "question"}]
    assert first.path == "/v1/chat/completions"
    assert first.headers["authorization"] == f"Bearer {KEY}"
    assert first.body == {"model": "asked-model", "messages": message, "max_tokens": 50}
    assert isinstance(second.body.pop("seed"), int)
    assert second.body == {
        "model": "asked-model",
        "messages": message,
        "max_completion_tokens": 50,
        "temperature": 0.01,
        "top_p": 0.7,
        "thinking": {"type": "disabled"},
    }


def test_seeds_follow_from_the_key_alone(serve: Any, tmp_path: Path) -> None:
    server = serve(echo)
    for store, keys in (("a", [("g", 1), ("g", 2)]), ("b", [("g", 2)])):
        operator(server, tmp_path / store, send_seed=True).answer_all([Request("same", key) for key in keys])
    seeds = [asked.body["seed"] for asked in server.asked]
    assert len(set(seeds)) == 2 and seeds[2] in seeds[:2]


def test_answers_come_in_order_however_long_each_takes(serve: Any, tmp_path: Path) -> None:
    rng = random.Random(1)
    server = serve(lambda asked: says(f"answer to {asked.message}", delay_s=rng.random() / 20))
    assert operator(server, tmp_path / "a", concurrency=5).answer_all(requests(20)) == whole(20)
    assert 1 < server.most_at_once <= 5
    server.most_at_once = 0
    assert operator(server, tmp_path / "b", concurrency=1).answer_all(requests(20)) == whole(20)
    assert server.most_at_once == 1
    assert [path.name for path in kept(tmp_path / "a")] == [path.name for path in kept(tmp_path / "b")]


def test_an_endpoint_without_a_key_gets_none(serve: Any, tmp_path: Path) -> None:
    server = serve(echo)
    assert operator(server, tmp_path, key_variable=None).answer(Request("question 0", ("g",))) == answers(1)[0]
    assert KEY not in str(server.asked[0].headers)


@pytest.mark.parametrize("limit", [{"requests_per_minute": 600}, {"tokens_per_minute": 69 * 600}])
def test_requests_keep_to_the_rate(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: dict[str, float]
) -> None:
    """On a clock that only sleeping moves: five requests of 19 + 50 tokens, as estimated, a tenth of a second apart."""
    clock = [100.0]

    async def sleep(seconds: float, stop: object) -> None:
        clock[0] += seconds

    monkeypatch.setattr(pace, "sleep", sleep)
    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    operator(serve(echo), tmp_path / "a", concurrency=1, **limit).answer_all(requests(5))
    assert clock[0] == pytest.approx(100.4)
    operator(serve(echo), tmp_path / "b", concurrency=1).answer_all(requests(5))
    assert clock[0] == pytest.approx(100.4)


# --- what is kept ---


def test_kept_answers_are_never_asked_again(serve: Any, tmp_path: Path) -> None:
    server = serve(echo)
    assert operator(server, tmp_path).answer_all(requests(3)) == whole(3)
    # Nothing that decides no answer makes it ask again.
    same = operator(
        server, tmp_path, timeout_s=9.0, concurrency=1, budget={"tokens": 1}, prices={"prompt": 1, "completion": 1}
    )
    assert same.answer_all(requests(3)) == whole(3)
    assert len(server.asked) == 3
    assert operator(server, tmp_path).answer_all(requests(4)) == whole(4)
    assert server.messages[3:] == ["question 3"]


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "other"},
        {"temperature": 0.5},
        {"top_p": 0.5},
        {"max_tokens": 51},
        {"send_seed": True},
        {"extra_body": {"x": 1}},
    ],
)
def test_what_decides_an_answer_asks_anew(serve: Any, tmp_path: Path, changed: dict[str, Any]) -> None:
    server = serve(echo)
    plain, other = operator(server, tmp_path), operator(server, tmp_path, **changed)
    for asking in (plain, other, plain, other):
        asking.answer(Request("question", ("g", 1)))
    assert len(server.asked) == 2
    assert config(server).decides() != config(server, **changed).decides()


def test_another_key_or_instruction_asks_anew(serve: Any, tmp_path: Path) -> None:
    server = serve(echo)
    asking = operator(server, tmp_path)
    for instruction, key in (("a", ("g", 1)), ("a", ("g", "1")), ("a", ("g", 1, "attempt", 1)), ("b", ("g", 1))):
        asking.answer(Request(instruction, key))
        asking.answer(Request(instruction, key))
    assert server.messages == ["a", "a", "a", "b"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"text": ""}', b'{"text": 3}', b'{"other": "x"}', b"\xff"])
def test_a_damaged_answer_is_asked_again(
    serve: Any, tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(echo)
    asking = operator(server, tmp_path)
    asking.answer(Request("question 0", ("g",)))
    (path,) = kept(tmp_path)
    path.write_bytes(damage)
    assert asking.answer(Request("question 0", ("g",))) == answers(1)[0]
    assert len(server.asked) == 2
    assert f"{path}: is no kept answer" in caplog.text
    assert json.loads(path.read_bytes())["text"] == answers(1)[0]


def test_when_two_jobs_ask_the_same_the_first_answer_counts(serve: Any, tmp_path: Path) -> None:
    first, second = operator(serve(echo), tmp_path), ChatServer(lambda asked: says("late"))
    with second:
        late = ChatOperator(config(second, base_url=second.base_url), NAME, tmp_path)

        # The slower job looked before the faster one had its answer.
        def meanwhile(asked: Asked) -> Answer:
            late._answers.put(late._digest(Request("question", ("g",))), Said("early"), {})
            return says("late")

        second.answer = meanwhile
        assert late.answer(Request("question", ("g",))) == "early"
    assert first.answer(Request("question 0", ("g",))) == answers(1)[0]


def test_kept_answers_stay_under_their_names(tmp_path: Path) -> None:
    settings = {
        "base_url": "https://x.test/v1",
        "model": "m",
        "key_variable": None,
        "max_tokens": 9,
        "query": {"v": "1"},
    }
    chat = ChatConfig.model_validate({"kind": "chat", "temperature": 0.5, "send_seed": True, **settings})
    digest = "e60afc0c268e2196e93503d8c48795c9"
    path = tmp_path / "chat/answers" / digest[:2] / f"{digest}.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"text": "of an earlier run"}')
    request = Request("question", ("g", 1, "p0", 2), "a prompt", variants=3)
    assert ChatOperator(chat, NAME, tmp_path).answer(request) == "of an earlier run"


def test_a_kept_answer_tells_where_it_comes_from(serve: Any, tmp_path: Path) -> None:
    operator(serve(echo), tmp_path).answer(Request("question 0", ("g", 1, "p0", 2)))
    (path,) = kept(tmp_path)
    assert json.loads(path.read_text()) == {
        "text": "answer to question 0",
        "model": "served-model",
        "operator": NAME,
        "key": ["g", 1, "p0", 2],
        "prompt_tokens": 100,
        "completion_tokens": 20,
    }


def test_a_killed_job_asks_only_what_is_missing(serve: Any, tmp_path: Path) -> None:
    """The real script under kill -9, while an answer is under way."""
    prompts = [f"a ball number {number}" for number in range(5)]
    table = pd.DataFrame({"prompt_id": [f"p{number}" for number in range(5)], "prompt": prompts}, dtype="str")
    write_table(table, tmp_path / Layout.prompt_set("heldout"), PROMPT_SET)
    (tmp_path / "refine.txt").write_text("$prompt")
    release = False

    def script(asked: Asked) -> Answer:
        stuck = asked.message == prompts[3] and not release
        return says(f"<PROMPT>Refined: {asked.message}.</PROMPT>", delay_s=30 if stuck else 0)

    server = serve(script)
    settings = raw(**config(server, concurrency=1).model_dump(mode="json")) | {"store": str(tmp_path / "store")}
    settings["refiners"]["llm"] |= {"operator": NAME, "template": str(tmp_path / "refine.txt")}
    settings["evaluation"]["sets"]["heldout"]["replicates"] = 1
    command = [
        sys.executable, str(ROOT / "scripts/refine.py"), "mini-t2v", "evaluation/heldout/llm",
        "--config", str(runfile.write(settings, tmp_path)), "--log", str(tmp_path / "refine.log"),
    ]  # fmt: skip
    started: dict[str, Any] = {"env": os.environ | {"PYTHONPATH": str(ROOT)}, "cwd": tmp_path}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, **started)
    deadline = time.monotonic() + 60
    while len(server.asked) < 4:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert server.messages == prompts[:4] and len(kept(tmp_path / "store")) == 3
    release = True
    done = subprocess.run(command, capture_output=True, text=True, **started)
    assert done.returncode == 0, done.stderr
    assert server.messages[4:] == prompts[3:]
    files = Layout().batch("mini-t2v", "evaluation/heldout/llm")
    refined = read_table(tmp_path / files.prompts, PROMPTS)["refined"].tolist()
    assert refined == [f"Refined: {prompt}." for prompt in prompts]
    assert "HTTP Request" not in done.stderr and KEY not in done.stderr
    # The killed request may have been charged: it counts with its estimate.
    spent = Ledger(tmp_path / "store/chat/ledger.jsonl", f"operators.{NAME}").spent()
    assert spent.requests == 6 and spent.completion_tokens == 5 * 20 + 50


# --- failures that pass ---


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, 0),
        ({"retry-after": "0.3"}, 0.3),
        ({"retry-after-ms": "300"}, 0.3),
        ({"retry-after-ms": "300", "retry-after": "9"}, 0.3),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": "nan"}, 0),
        ({"retry-after": "-5"}, 0),
    ],
)
def test_too_many_requests_wait_as_long_as_the_endpoint_asks(
    serve: Any, tmp_path: Path, headers: dict[str, str], wait_s: float
) -> None:
    server = serve(lambda asked: fails(429, headers=headers) if asked.attempt == 0 else echo(asked))
    assert operator(server, tmp_path).answer(Request("question 0", ("g",))) == answers(1)[0]
    first, second = server.asked
    assert wait_s <= second.time - first.time
    assert [line["money"] for line in ledger(tmp_path)] == [0] * 4


def test_retry_after_may_be_a_date(serve: Any, tmp_path: Path) -> None:
    def script(asked: Asked) -> Answer:
        date = email.utils.formatdate(time.time() + 1.5, usegmt=True)  # whole seconds: 0.5 to 1.5 from now
        return fails(429, headers={"retry-after": date}) if asked.attempt == 0 else echo(asked)

    server = serve(script)
    operator(server, tmp_path).answer(Request("question 0", ("g",)))
    assert server.asked[1].time - server.asked[0].time > 0.4


def test_when_one_request_is_told_to_wait_all_wait(serve: Any, tmp_path: Path) -> None:
    def script(asked: Asked) -> Answer:
        if asked.message == "question 0" and asked.attempt == 0:
            return fails(429, headers={"retry-after": "0.5"})
        return says(f"answer to {asked.message}", delay_s=0.1)

    server = serve(script)
    assert operator(server, tmp_path, concurrency=2).answer_all(requests(5)) == whole(5)
    start = server.asked[0].time
    assert all(asked.time - start >= 0.5 for asked in server.asked[2:])


def test_an_endpoint_that_asks_for_too_long_a_wait_stops_the_run(serve: Any, tmp_path: Path) -> None:
    def script(asked: Asked) -> Answer:
        return echo(asked) if asked.message == "question 0" else fails(429, headers={"retry-after": "86400"})

    server = serve(script)
    with pytest.raises(OperatorError) as error:
        operator(server, tmp_path, concurrency=1).answer_all(requests(3))
    assert "asks to wait 86400 s" in str(error.value)
    assert f"operators.{NAME}.retries.longest_asked_wait_s=2" in str(error.value)
    assert "1 of 3 requests were answered" in str(error.value)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "bad",
    [
        fails(500),
        fails(503, "overloaded"),
        fails(408),
        fails(409),
        fails(429, code="rate_limit_exceeded"),
        Answer(b"<html>Bad gateway</html>", 502, {"content-type": "text/html"}),
        says("cut off in the middle of the body", sent=0.5),
        Answer(b"<html>Log in first</html>", headers={"content-type": "text/html"}),
        Answer(b"{"),
        Answer(b"\xff\xfe"),
        Answer(b"[]"),
        Answer(b'{"choices": null, "error": {"message": "upstream"}}'),
        Answer(b'{"choices": [{"message": null}]}'),
        says(["a", "list"]),
        says("half", finish="network_error"),
    ],
)
def test_what_may_pass_is_tried_again(serve: Any, tmp_path: Path, bad: Answer) -> None:
    server = serve(lambda asked: bad if asked.attempt < 2 else echo(asked))
    assert operator(server, tmp_path).answer(Request("question 0", ("g",))) == answers(1)[0]
    assert len(server.asked) == 3
    assert len(kept(tmp_path)) == 1


def test_waits_double_up_to_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    retries, failure = Retries(first_wait_s=0.05, longest_wait_s=0.2, longest_asked_wait_s=9), NoAnswerError("x")
    assert [retries.wait_s(attempt, failure) for attempt in range(4)] == [0.05, 0.1, 0.2, 0.2]
    asked = [retries.wait_s(0, NoAnswerError("x", wait_s)) for wait_s in (0.01, 9.0, 9.1)]
    assert asked == [0.05, 9.0, None], "an endpoint that asks to wait is obeyed, up to a bound"


@pytest.mark.parametrize("status", [429, 500])
def test_what_never_passes_for_one_prompt_costs_that_prompt(
    serve: Any, tmp_path: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    healed = False

    def script(asked: Asked) -> Answer:
        return fails(status, "try later") if asked.message == "question 2" and not healed else echo(asked)

    server = serve(script)
    found = operator(server, tmp_path).answer_all(requests(6))
    assert found == [*whole(2), Said("", f"{status}: try later"), *whole(6)[3:]]
    told = f"{server.base_url} gave no answer to 1 of 6 requests, each asked 3 times at most; first g/1/p2/1: {status}"
    assert told in caplog.text and "left out" in caplog.text
    assert len(server.asked) == 5 + 3
    healed = True  # it cost nothing, so the next run asks again
    assert operator(server, tmp_path).answer_all(requests(6)) == whole(6)
    assert server.messages[8:] == ["question 2"]


def test_an_endpoint_that_is_down_is_not_asked_about_everything(serve: Any, tmp_path: Path) -> None:
    server = serve(lambda asked: fails(500))
    with pytest.raises(OperatorError, match="3 of 50 requests"):
        operator(server, tmp_path, concurrency=1).answer_all(requests(50))
    assert len(server.asked) == 9


def test_nobody_listening_costs_nothing(tmp_path: Path) -> None:
    with ChatServer(echo) as server:
        gone = operator(server, tmp_path)
    with pytest.raises(OperatorError, match=r"no connection \(ConnectError"):
        gone.answer(Request("question", ("g",)))
    assert Ledger(tmp_path / "chat/ledger.jsonl", f"operators.{NAME}").spent().tokens == 0


@pytest.mark.parametrize("slow", [says("late", delay_s=4.0), says("drop by drop", drip_s=0.05)])
def test_a_slow_answer_times_out_and_counts_as_spent(serve: Any, tmp_path: Path, slow: Answer) -> None:
    server = serve(lambda asked: slow if asked.attempt == 0 else echo(asked))
    assert operator(server, tmp_path, timeout_s=1.0).answer(Request("question 0", ("g",))) == answers(1)[0]
    spent = Ledger(tmp_path / "chat/ledger.jsonl", f"operators.{NAME}").spent()
    assert spent.requests == 2
    assert spent.completion_tokens == 50 + 20  # the time-out may be charged in full
    with pytest.raises(OperatorError, match=r"no answer within 0\.1 s"):
        operator(serve(lambda asked: slow), tmp_path, timeout_s=0.1).answer(Request("question 1", ("g",)))


# --- failures that do not pass ---


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (fails(401, "Incorrect API key"), r"key_variable: .* does not accept the key for asked-model \(401: Incorrect"),
        (fails(403, "not yours"), r"key_variable: .* does not accept the key for asked-model \(403: not yours"),
        (fails(404, "gone", "model_not_found"), r"model: .* does not know asked-model \(404: gone\); check model and"),
        (fails(400, "no model", "1211"), r"model: .* does not know asked-model \(400: no model\)"),
        (fails(429, "pay", "insufficient_quota"), r"has no credit left \(429: pay\)"),
        (fails(429, "pay", "credit_balance_exhausted", "insufficient_quota"), r"has no credit left"),
        (fails(429, "arrears", "1113"), r"has no credit left"),
        (fails(402, "pay"), r"has no credit left"),
    ],
)
def test_what_does_not_pass_stops_at_once(serve: Any, tmp_path: Path, bad: Answer, message: str) -> None:
    server = serve(lambda asked: echo(asked) if asked.message == "question 0" else bad)
    with pytest.raises(InputError, match=message) as error:
        operator(server, tmp_path, concurrency=1).answer_all(requests(5))
    assert str(error.value).startswith(f"operators.{NAME}")
    assert "1 of 5 requests were answered" in str(error.value)
    assert len(server.asked) == 2 and len(kept(tmp_path)) == 1
    assert len(str(error.value)) < 1500


REJECTED = [
    (fails(400, "bad top_p", "invalid"), r"does not accept the request \(400: bad top_p\); check the settings"),
    (fails(422, "max_tokens"), r"does not accept the request \(422: max_tokens\)"),
    (Answer(b"x\x1b[31m\n" * 500, 400, {"content-type": "text/html"}), r"400: x \[31m x .*\.\.\.\)"),
]


@pytest.mark.parametrize(("bad", "message"), REJECTED)
def test_an_endpoint_that_accepts_no_request_stops_the_run(
    serve: Any, tmp_path: Path, bad: Answer, message: str
) -> None:
    server = serve(lambda asked: bad)
    with pytest.raises(InputError, match=message) as error:
        operator(server, tmp_path, concurrency=1).answer_all(requests(50))
    assert str(error.value).startswith(f"operators.{NAME}") and len(str(error.value)) < 1500
    assert len(server.asked) == 3 and kept(tmp_path) == []


@pytest.mark.parametrize(("bad", "message"), REJECTED)
def test_requests_that_are_not_accepted_beside_others_are_left_out(
    serve: Any, tmp_path: Path, bad: Answer, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(lambda asked: echo(asked) if asked.message in ("question 0", "question 9") else bad)
    found = operator(server, tmp_path, concurrency=1).answer_all(requests(10))
    assert found[0] == whole(1)[0] and found[9] == whole(10)[9]
    assert all(re.search(message, answer.fault) for answer in found[1:9])
    assert "8 of 10 requests" in caplog.text


REFUSED = [
    (says("half a", finish="content_filter"), "refused by the content filter"),
    (says("half a", finish="sensitive"), "refused by the content filter"),
    (says(None, refusal="I will not"), "refused: I will not"),
    (fails(400, "unsafe", "content_filter"), "refused by the content filter (400: unsafe)"),
    (fails(400, "unsafe", "1301"), "refused by the content filter (400: unsafe)"),
    (fails(400, "Output data may contain inappropriate content.", "DataInspectionFailed"), "refused by the content"),
    (
        fails(400, "The response was filtered: it triggers Azure's content management policy."),
        "refused by",
    ),
    (fails(403, "Your request was flagged by our moderation."), "refused by the content filter (403: Your request"),
    (Answer(b'{"choices": []}'), "the answer has no choices"),
    (Answer(b'{"choices": null, "usage": {"prompt_tokens": 5}}'), "the answer has no choices"),
]


@pytest.mark.parametrize(("bad", "fault"), REFUSED)
def test_a_refusal_costs_its_prompt_and_is_not_asked_for_again(
    serve: Any, tmp_path: Path, bad: Answer, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Sixty prompts of which every third is refused: one run asks each once, and the next asks nothing."""
    server = serve(lambda asked: bad if int(asked.message.split()[1]) % 3 == 1 else echo(asked))
    found = operator(server, tmp_path).answer_all(requests(60))
    assert [place for place, answer in enumerate(found) if answer.fault] == list(range(1, 60, 3))
    assert all(answer.fault.startswith(fault) and not answer.text for answer in found[1::3])
    assert found[0::3] == whole(60)[0::3]
    assert "g/1/p1/1: left out, since the answer is " + fault in caplog.text
    assert len(server.asked) == len(kept(tmp_path)) == 60
    assert operator(server, tmp_path).answer_all(requests(60)) == found
    assert len(server.asked) == 60
    assert "20 requests are not asked again, since an earlier run got no answer to them (first g/1/p1/1" in caplog.text
    for path in kept(tmp_path):
        if "left_out" in path.read_text():
            path.unlink()
    server.answer = echo
    assert operator(server, tmp_path).answer_all(requests(60)) == whole(60)


def test_after_an_error_what_is_under_way_is_kept(serve: Any, tmp_path: Path) -> None:
    def script(asked: Asked) -> Answer:
        if asked.message == "question 0":
            return fails(401, delay_s=0.1)
        return says(f"answer to {asked.message}", delay_s=0.3)

    server = serve(script)
    with pytest.raises(InputError, match="2 of 9 requests were answered"):
        operator(server, tmp_path, concurrency=3).answer_all(requests(9))
    assert len(server.asked) == 3 and len(kept(tmp_path)) == 2


@pytest.mark.parametrize(
    "bad",
    [
        fails(401, f"Incorrect API key provided: {KEY}"),
        fails(400, f"header Authorization: Bearer {KEY}"),
        Answer(f"Bearer {KEY} is bad".encode(), 403, {"content-type": "text/plain"}),
        Answer(f'{{"error": "{KEY}"}}'.encode(), 500),
        Answer(f'["{KEY}"]'.encode()),
        says(f"a {KEY} b", finish="network_error"),
    ],
)
def test_a_key_that_the_endpoint_repeats_is_blacked_out(serve: Any, tmp_path: Path, bad: Answer) -> None:
    with pytest.raises((InputError, OperatorError)) as error:
        operator(serve(lambda asked: bad), tmp_path).answer(Request("question", ("g",)))
    assert "***" in str(error.value)
    assert KEY not in shown(error.value)


def test_a_key_that_the_answer_repeats_is_blacked_out(serve: Any, tmp_path: Path) -> None:
    server = serve(lambda asked: says(f"your key is {KEY}"))
    assert operator(server, tmp_path).answer(Request("question", ("g",))) == "your key is ***"
    assert json.loads(kept(tmp_path)[0].read_text())["text"] == "your key is ***"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, f"the environment variable {VARIABLE} is not set"),
        ("", f"the environment variable {VARIABLE} is not set"),
        ("short", "is no key"),
        ("sk-secret-with-newline\n", "is no key"),
        ("sk-secret with spaces", "is no key"),
        ("sk-sécret-létters", "is no key"),
        ("'sk-secret-in-quotes'", "is no key"),
    ],
)
def test_a_missing_key_is_found_before_anything_is_asked(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None, message: str
) -> None:
    if value is None:
        monkeypatch.delenv(VARIABLE)
    else:
        monkeypatch.setenv(VARIABLE, value)
    server = serve(echo)
    for load in (
        lambda: config(server).ready(f"operators.{NAME}"),
        lambda: config(server).load(NAME, tmp_path),
    ):
        with pytest.raises(InputError, match=message) as error:
            load()
        assert f"operators.{NAME}.key_variable" in str(error.value)
        assert not value or value.strip() not in str(error.value)
    config(server, key_variable=None).ready(f"operators.{NAME}")
    RecombineConfig(kind="recombine").ready("operators.recombine")


def test_round_0_wants_neither_key_nor_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = raw(key_variable="NOT_SET")
    settings["evolution"]["operator"] = NAME
    study = Study(check(settings, ROOT), ROOT)
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame({"prompt_id": ["p0"], "prompt": ["a ball"]}, dtype="str")
    write_table(table, Path(study.layout.prompt_set("evolution")), PROMPT_SET)
    batches.propose(study, "mini-t2v", "evolution/round-0")
    written = study.files(study.rounds("mini-t2v")[0]).prompts
    assert read_table(Path(written), PROMPTS)["refined"].tolist() == ["a ball"]


def test_the_key_that_stands_for_none_is_accepted(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM's documentation has it; a text that holds the word stays as it is."""
    monkeypatch.setenv(VARIABLE, "EMPTY")
    server = serve(lambda asked: says("an EMPTY room"))
    config(server).ready(f"operators.{NAME}")
    assert operator(server, tmp_path).answer(Request("question", ("g",))) == "an EMPTY room"
    assert server.asked[0].headers["authorization"] == "Bearer EMPTY"


# --- answers that are no good ---


UNFINISHED = [
    (says("<PROMPT>Whole.</PROMPT><PROMPT>Cut in the mid", finish="length"), "cut off at max_tokens"),
    (says("", finish="length"), "cut off at max_tokens"),
    (says("whole?", finish=None), "not known to be whole (finish_reason none)"),
    (says("whole?", finish="tool_calls"), "not known to be whole (finish_reason tool_calls)"),
    (says(""), "empty"),
    (says(None), "empty"),
    (says(" \n "), "empty"),
]


@pytest.mark.parametrize(("bad", "fault"), UNFINISHED)
def test_an_answer_that_is_not_said_to_be_whole_is_asked_for_again_then_left_out(
    serve: Any, tmp_path: Path, bad: Answer, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(lambda asked: bad if asked.message == "question 1" else echo(asked))
    found = operator(server, tmp_path).answer_all(requests(3))
    assert found == [whole(1)[0], Said("", fault), whole(3)[2]]
    assert f"g/1/p1/1: left out, since the answer is {fault}" in caplog.text
    assert len(server.asked) == 2 + 3
    # What was paid for is not paid for again without a word; another bound is another request.
    assert operator(server, tmp_path).answer_all(requests(3)) == found
    assert len(server.asked) == 5 and "1 requests are not asked again" in caplog.text
    server.answer = echo
    assert operator(server, tmp_path, max_tokens=60).answer_all(requests(3)) == whole(3)


def test_an_answer_that_is_whole_the_second_time_is_kept(serve: Any, tmp_path: Path) -> None:
    server = serve(lambda asked: says("half", finish="length") if asked.attempt == 0 else echo(asked))
    assert operator(server, tmp_path).answer_all(requests(2)) == whole(2)
    assert len(server.asked) == 4 and len(kept(tmp_path)) == 2


@pytest.mark.parametrize("finish", ["stop", "STOP", "end_turn", "eos"])
def test_what_endpoints_call_a_whole_answer(serve: Any, tmp_path: Path, finish: str) -> None:
    server = serve(lambda asked: says("whole", finish=finish))
    assert operator(server, tmp_path).answer(Request("question", ("g",))) == "whole"


def streamed(asked: Asked) -> Answer:
    """An answer in pieces, for those who ask for it so."""
    assert asked.body["stream"] is True
    pieces = [{"role": "assistant"}, {"content": "A red "}, {"content": "ball."}]
    finish = [None, None, None if asked.attempt == 0 else "stop"]
    events = [
        {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "served-model",
         "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}
        for delta, end in zip(pieces, finish, strict=True)
    ]  # fmt: skip
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    return Answer(body.encode(), headers={"content-type": "text/event-stream"})


def test_servers_that_only_stream_are_heard_to_the_end(serve: Any, tmp_path: Path) -> None:
    server = serve(streamed)
    assert operator(server, tmp_path, stream=True).answer(Request("question", ("g",))) == "A red ball."
    assert len(server.asked) == 2  # the first answer was not said to be whole
    assert json.loads(kept(tmp_path)[0].read_text())["model"] == "served-model"


def test_azures_dialect_needs_no_secret_in_a_file(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "az-0123456789"
    dialect = {"key_variable": None, "query": {"api-version": "2024-10-21"}, "headers": {"api-key": "AZURE_KEY"}}
    server = serve(lambda asked: says(f"your key is {secret}") if asked.attempt else fails(500, f"bad {secret}"))
    monkeypatch.delenv("AZURE_KEY", raising=False)
    with pytest.raises(InputError, match="the environment variable AZURE_KEY is not set"):
        config(server, **dialect).ready(f"operators.{NAME}")
    monkeypatch.setenv("AZURE_KEY", secret)
    assert operator(server, tmp_path, **dialect).answer(Request("question", ("g",))) == "your key is ***"
    assert server.asked[0].path.endswith("/chat/completions?api-version=2024-10-21")
    assert server.asked[0].headers["api-key"] == secret
    assert secret not in caplog.text and secret not in kept(tmp_path)[0].read_text()
    with pytest.raises(ValidationError, match="must be the name of an environment variable"):
        config(server, headers={"api-key": secret})


def test_an_answer_may_come_in_parts(serve: Any, tmp_path: Path) -> None:
    parts = [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "A red "}, {"text": "ball."}, "x"]
    server = serve(lambda asked: says(parts))
    assert operator(server, tmp_path).answer(Request("question", ("g",))) == "A red ball."


@pytest.mark.parametrize(
    ("text", "variants"),
    [
        ("<PROMPT><PROMPT>A cat.</PROMPT> <script>x</script></PROMPT>", ("A cat.",)),
        ("<PROMPT>" + "word " * 2000 + "</PROMPT><PROMPT>A cat.</PROMPT>", ("A cat.",)),
        ("<PROMPT>A\x00 \x1b[31mcat\u202e.\x07</PROMPT>", ("A [31mcat.",)),
        ("<PROMPT>A \ud800cat.</PROMPT>", ("A ?cat.",)),
        ("1. A cat.\n2. A dog.", ()),
        ("$(rm -rf /) <PROMPT>'; rm -rf / #</PROMPT>", ("'; rm -rf / #",)),
        ("x" * 1_000_000, ()),
    ],
)
def test_hostile_answers_go_through_the_parser(
    serve: Any, tmp_path: Path, text: str, variants: tuple[str, ...]
) -> None:
    server = serve(lambda asked: says(text))
    for _ in range(2):
        found = operator(server, tmp_path).answer(Request("question", ("g",)))
        assert found.encode()
        assert parse_variants(found, 3, LIMITS).variants == variants
    assert len(server.asked) == 1


# --- asking again ---


class Scripted(Operator):
    """Answers from a table {key: texts} and remembers the keys."""

    def __init__(self, texts: dict[Key, list[str]]) -> None:
        self.texts, self.asked = texts, list[Key]()

    def answer(self, request: Request) -> str:
        self.asked.append(request.key)
        return "".join(f"<PROMPT>{text}</PROMPT>" for text in self.texts.get(request.key, []))


def test_too_few_variants_are_asked_for_again_with_a_new_key() -> None:
    scripted = Scripted(
        {
            ("a",): ["1", "2", "3", "4"],
            ("b",): ["1", "Filmed"],
            ("b", "attempt", 1): ["1.", "2", "3", "4"],
            ("c",): ["ORIGINAL"],
            ("c", "attempt", 2): ["1"],
        }
    )
    asked = [Request("x", (name,), "original", variants=3, filmed=["filmed"]) for name in "abc"]
    a, b, c = ask_variants(scripted, asked, LIMITS, attempts=3)
    assert scripted.asked == [
        ("a",), ("b",), ("c",), ("b", "attempt", 1), ("c", "attempt", 1), ("c", "attempt", 2)
    ]  # fmt: skip
    assert (a.variants, a.asked) == (("1", "2", "3"), 1)
    assert (b.variants, b.asked) == (("1", "2", "3"), 2)
    assert (c.variants, c.asked) == (("1",), 3)
    assert a.dropped == ("more than wanted",)
    assert b.dropped == ("already filmed",)
    assert c.dropped == ("equal to the original", "no <PROMPT> tags")


PROMPT_SET_TABLE = pd.DataFrame({"prompt_id": ["p1", "p2"], "prompt": ["a red ball", "a blue box"]}, dtype="str")


def scores(prompts: pd.DataFrame) -> pd.DataFrame:
    table = prompts.assign(key=[f"k{place}" for place in range(len(prompts))])
    for name in METRICS:
        table[name] = 2.0 / TO_FIVE[name]
        table[f"{name}_5"] = 2.0
    return table


def evolve(asking: Operator, **changed: Any) -> Any:
    settings = EvolutionConfig(prompts="x", operator=NAME, **changed)
    first = scores(first_round(PROMPT_SET_TABLE, settings, 1))
    return next_round(1, PROMPT_SET_TABLE, [first], asking, "$history\nexactly $variants", settings, PAPER, "g", 1)


def test_evolution_asks_again_and_then_takes_what_is_usable(serve: Any, tmp_path: Path) -> None:
    def script(asked: Asked) -> Answer:
        if "a red ball" in asked.message:
            return says("".join(f"<PROMPT>Red {asked.attempt}{place}.</PROMPT>" for place in range(2)))
        return says("<PROMPT>Blue.</PROMPT>") if asked.attempt == 0 else says("")

    server = serve(script)
    result = evolve(operator(server, tmp_path), attempts=3)
    rows = result.table[["prompt_id", "candidate", "refined"]].to_numpy().tolist()
    assert rows == [["p1", 1, "Red 00."], ["p1", 2, "Red 01."], ["p1", 3, "Red 10."], ["p2", 1, "Blue."]]
    assert result.report == (
        "round 1, p1: 3 of 3 variants after asking 2 times",
        "round 1, p2: 1 of 3 variants after asking 2 times; dropped: empty",
    )
    assert len(server.asked) == 2 + 1 + 3
    again = evolve(operator(server, tmp_path), attempts=3)
    pd.testing.assert_frame_equal(again.table, result.table)
    assert len(server.asked) == 6


def test_the_offline_operator_answers_as_before() -> None:
    recombine = RecombineOperator(RecombineConfig(kind="recombine"))
    once, often = evolve(recombine), evolve(recombine, attempts=3)
    pd.testing.assert_frame_equal(once.table, often.table)
    assert len(once.table) == 6 and once.report == often.report == ()


def test_other_operators_for_single_generators() -> None:
    settings = EvolutionConfig(prompts="x", operator="a", operators={"g2": "b"})
    assert [settings.operator_of(generator) for generator in ("g1", "g2")] == ["a", "b"]


# --- ledger and budget ---


def test_the_ledger_counts_tokens_and_money(serve: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    prices = {"prompt": 5.0, "completion": 15.0}
    operator(serve(echo), tmp_path, prices=prices).answer_all(requests(4))
    spent = Ledger(tmp_path / "chat/ledger.jsonl", f"operators.{NAME}").spent()
    assert (spent.requests, spent.prompt_tokens, spent.completion_tokens) == (4, 400, 80)
    assert spent.money == pytest.approx((400 * 5 + 80 * 15) / 1e6)
    assert Ledger(tmp_path / "chat/ledger.jsonl", "operators.other").spent().requests == 0
    assert Ledger(tmp_path / "nowhere.jsonl", "x").spent().requests == 0
    assert f"operators.{NAME} has spent 480 tokens, 0.00 USD in all" in caplog.text


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": "many", "completion_tokens": -1}, [1]])
def test_an_endpoint_that_does_not_count_is_estimated(serve: Any, tmp_path: Path, usage: object) -> None:
    operator(serve(lambda asked: says("x" * 300, usage=usage)), tmp_path).answer(Request("q" * 300, ("g",)))
    spent = Ledger(tmp_path / "chat/ledger.jsonl", f"operators.{NAME}").spent()
    assert (spent.prompt_tokens, spent.completion_tokens) == (116, 100)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"tokens": 500}, r"budget\.tokens: the budget is used up: 480 of 500 tokens are spent"),
        ({"money": 0.0045}, r"budget\.money: the budget is used up: 0\.00 of 0\.00 EUR are spent"),
    ],
)
def test_a_used_up_budget_stops_and_keeps_everything(
    serve: Any, tmp_path: Path, budget: dict[str, Any], message: str
) -> None:
    server = serve(echo)
    limited = {"prices": {"prompt": 10.0, "completion": 5.0, "currency": "EUR"}, "concurrency": 1}
    with pytest.raises(InputError, match=message) as error:
        operator(server, tmp_path, budget=budget, **limited).answer_all(requests(9))
    assert f"Raise operators.{NAME}.budget.{next(iter(budget))} and run again" in str(error.value)
    assert "4 of 9 requests were answered" in str(error.value)
    assert len(server.asked) == len(kept(tmp_path)) == 4
    # Other stages and restarts share the ledger; nothing is asked while there is nothing left.
    with pytest.raises(InputError, match="0 of 1 requests were answered"):
        operator(server, tmp_path, budget=budget, **limited).answer(Request("other", ("refine", 1, "p0")))
    assert len(server.asked) == 4
    raised = operator(server, tmp_path, budget={name: value * 10 for name, value in budget.items()}, **limited)
    assert raised.answer_all(requests(9)) == whole(9)
    assert len(server.asked) == 9


def test_concurrent_requests_do_not_pass_the_budget(serve: Any, tmp_path: Path) -> None:
    server = serve(lambda asked: says("x", usage=(19, 50), delay_s=0.05))
    with pytest.raises(InputError, match="used up"):
        operator(server, tmp_path, concurrency=20, budget={"tokens": 69 * 7}).answer_all(requests(20))
    assert len(server.asked) == 7


class Hesitant(Ledger):
    """Leaves others time between reading and writing."""

    def _total(self) -> Spent:
        total = super()._total()
        time.sleep(0.002)
        return total


def _spend(path: Path, count: int) -> None:
    ledger = Hesitant(path, "a", budget=Budget(tokens=1000))
    for _ in range(count):
        try:
            id_ = ledger.ask(5, 5)
        except InputError:
            return
        ledger.settle(id_, 5, 4)


def test_processes_share_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_spend, args=(path, 60)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({(line["event"], line["id"]) for line in lines}) == len(lines)
    spent = Ledger(path, "a").spent()
    assert spent.tokens == sum(line["event"] == "settled" for line in lines) * 9
    assert 990 < spent.tokens <= 1000


def test_a_torn_line_harms_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "ledger.jsonl"
    first = Ledger(path, "a")
    first.settle(first.ask(5, 5), 3, 4)
    with path.open("a") as stream:
        stream.write('{"event": "asked", "id": "x", "acc')
    second = Ledger(path, "a")
    second.ask(5, 5)
    assert "a line is damaged" in caplog.text
    for reader in (first, second, Ledger(path, "a")):
        assert reader.spent().tokens == 7 + 10
    assert len(path.read_text().splitlines()) == 4


def test_prices_are_of_a_million_tokens() -> None:
    assert Prices(prompt=5, completion=15).of(1_000_000, 2_000_000) == 35


# --- configuration ---


def raw(**entry: Any) -> dict[str, Any]:
    """The repository's configuration with a chat operator."""
    settings = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    chat = {"kind": "chat", "base_url": "https://x.test/v1", "model": "m", "key_variable": "X_KEY", "max_tokens": 9}
    settings["operators"][NAME] = chat | entry
    return settings


def test_a_chat_operator_is_an_entry() -> None:
    checked = check(raw(budget={"money": 5}, prices={"prompt": 1.5, "completion": 2}), ROOT)
    entry = checked.operators[NAME]
    assert isinstance(entry, ChatConfig) and entry.budget.money == 5
    assert TypeAdapter(registry.union("operators")).validate_json(entry.model_dump_json()) == entry
    cheaper = check(raw(budget={"money": 1}, prices={"prompt": 1, "completion": 1}, concurrency=2), ROOT)
    assert entry.decides() == cheaper.operators[NAME].decides()
    assert entry.decides() != check(raw(temperature=0.5), ROOT).operators[NAME].decides()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"key_variable": KEY}, "key_variable must be the name of an environment variable"),
        ({"key_variable": KEY.replace("-", "_")}, "key_variable must be the name of an environment variable"),
        ({"base_url": f"https://me:{KEY}@x.test/v1"}, "base_url must hold no user, password or query"),
        ({"base_url": f"https://x.test/v1?key={KEY}"}, "base_url must hold no user, password or query"),
        ({"base_url": "x.test/v1"}, "base_url must be an http or https address"),
        ({"budget": {"money": 3}}, "budget.money needs prices"),
        ({"extra_body": {"model": "x", "seed": 1}}, "extra_body must not hold model, seed"),
    ],
)
def test_bad_entries_are_named_and_show_no_secret(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        check(raw(**entry), ROOT)
    assert f"operators.{NAME}: {message}" in str(error.value)
    assert KEY not in str(error.value) and KEY.replace("-", "_") not in str(error.value)


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"top_p": 1.5}, "top_p"),
        ({"budget": {"tokens": 0}}, "budget.tokens"),
        ({"retries": {"attempts": 0}}, "retries.attempts"),
        ({"api_key": "x"}, "api_key"),
    ],
)
def test_bad_settings_are_named(entry: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError, match=rf"operators\.{NAME}\.{key}: "):
        check(raw(**entry), ROOT)


def test_operators_of_generators_are_declared() -> None:
    settings = raw()
    settings["evolution"]["operators"] = {"mini-t2v": "nothing", "other": NAME}
    with pytest.raises(InputError) as error:
        check(settings, ROOT)
    assert "evolution.operators.mini-t2v: there is no 'nothing'; known are recombine, tested" in str(error.value)
    assert "evolution.operators.other: there is no 'other'; known are mini-t2v" in str(error.value)


# --- the few-shot refiner ---


def test_a_refiner_shows_its_examples_and_asks_again(serve: Any, tmp_path: Path) -> None:
    examples = tmp_path / "mine.yaml"
    examples.write_text('- prompt: "a $cat"\n  refined: |\n    A gray\n    {cat} sleeps.\n- {prompt: x, refined: y}\n')
    template = tmp_path / "mine.txt"
    template.write_text("Examples:\n$examples\nNow: $prompt")
    server = serve(lambda asked: says("no" if asked.attempt == 0 else "<PROMPT>A vivid ball.</PROMPT>"))
    settings = LlmRefinerConfig(kind="llm", operator=NAME, template=str(template), examples=str(examples), attempts=2)
    study = Study(check(raw(**config(server).model_dump(mode="json")) | {"seed": 7, "store": str(tmp_path)}, ROOT))
    refiner = settings.load("mine", "mini-t2v", study)
    assert refiner.refine(["p1"], ["a red ball"]) == ["A vivid ball."]
    assert (
        server.messages
        == [
            "Examples:\nShort: a $cat\n<PROMPT>A gray {cat} sleeps.</PROMPT>\n\n"
            "Short: x\n<PROMPT>y</PROMPT>\nNow: a red ball"
        ]
        * 2
    )
    assert settings.files == [str(template), str(examples)]


def test_shipped_examples_and_template_fit_the_offline_operator_too() -> None:
    examples = ROOT / "templates/refine_examples.yaml"
    template = ROOT / "templates/refine_fewshot.txt"
    settings = LlmRefinerConfig(kind="llm", operator="x", template=str(template), examples=str(examples))
    assert all(len(example.refined.split()) < 100 for example in settings.read_examples())
    zero_shot = LlmRefinerConfig(kind="llm", operator="x", template=str(ROOT / "templates/refine.txt"))
    operator = RecombineOperator(RecombineConfig(kind="recombine"))
    refiner, plain = (LlmRefiner(one, operator, 1) for one in (settings, zero_shot))
    prompts = ["a red ball moving up", "exactly 9 boxes"]
    assert refiner.refine(["p1", "p2"], prompts) == plain.refine(["p1", "p2"], prompts)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"a: [", "cannot be read"),
        (b"", "must be a list"),
        (b"[]", "must be a list"),
        (b"prompt: x", "must be a list"),
        (b"- {prompt: x, refined: y}\n- {prompt: x}", "example 2: must have `prompt:` and `refined:`"),
        (b"- {prompt: x, refined: y, z: 1}", "example 1: must have"),
        (b"- x", "example 1: must have"),
        (b"- {prompt: 3, refined: y}", "example 1: `prompt:` must be a text"),
        (b"- {prompt: x, refined: ''}", "example 1: `refined:` must be a text"),
    ],
)
def test_bad_examples_are_named_with_their_key(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_bytes(content)
    settings = raw()
    settings["refiners"]["llm"] |= {"examples": str(path), "template": "templates/refine_fewshot.txt"}
    with pytest.raises(InputError) as error:
        check(settings, ROOT)
    assert str(error.value).startswith(f"refiners.llm.examples: {path}") and message in str(error.value)


def test_examples_and_their_placeholder_go_together() -> None:
    settings = raw()
    settings["refiners"]["llm"]["examples"] = "templates/refine_examples.yaml"
    with pytest.raises(InputError, match=r"refiners\.llm\.template: .*refine\.txt: the placeholder \$examples is miss"):
        check(settings, ROOT)
    settings = raw()
    settings["refiners"]["llm"]["template"] = "templates/refine_fewshot.txt"
    with pytest.raises(InputError, match=r"refiners\.llm\.template: .*\$examples is only for a refiner that names"):
        check(settings, ROOT)


# --- the workflow ---


@pytest.mark.workflow
def test_the_workflow_finds_a_missing_key_first_and_a_new_budget_reruns_nothing(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("Snakefile", "config.yaml", "envs", "profiles", "promptavideo", "resources", "rules", "scripts",
                 "templates"):  # fmt: skip
        (tmp_path / name).symlink_to(ROOT / name)
    target = "results/mini-t2v/evaluation/heldout/llm/prompts.parquet"

    def snakemake(*arguments: str, **entry: Any) -> subprocess.CompletedProcess[str]:
        mine = {"operators": {NAME: config(server, **entry).model_dump(mode="json")}}
        mine["refiners"] = {"llm": {"kind": "llm", "operator": NAME}}
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
        command = ["snakemake", target, "--cores", "1", "--configfile", "config.yaml", "mine.yaml", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1200)

    server = serve(lambda asked: says("<PROMPT>A vivid ball.</PROMPT>"))
    with monkeypatch.context() as without:
        without.delenv(VARIABLE)
        run = snakemake()
    assert run.returncode != 0
    assert f"operators.{NAME}.key_variable: the environment variable {VARIABLE} is not set" in run.stderr
    assert not (tmp_path / "results").exists() and not server.asked
    run = snakemake()
    assert run.returncode == 0, run.stderr[-3000:]
    assert len(server.asked) == len(read_table(tmp_path / target, PROMPTS)["prompt_id"].unique())
    assert "Nothing to be done" in snakemake("-n", budget={"tokens": 9}, concurrency=1).stdout
    assert "refine" in snakemake("-n", temperature=0.5).stdout
