"""A local OpenAI-compatible chat endpoint that answers as badly as a test wants."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Asked:
    """One request as it came in; `attempt` counts those with the same message from 0."""

    body: dict[str, Any]
    headers: Mapping[str, str]
    path: str
    attempt: int
    time: float

    @property
    def message(self) -> str:
        """The user's message."""
        return str(self.body["messages"][-1]["content"])


@dataclass(frozen=True)
class Answer:
    """What is sent back, when and how."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    """Before anything is sent."""
    sent: float = 1.0
    """The part of the body that is sent before the connection breaks."""
    drip_s: float = 0.0
    """Pause after each byte."""


def says(
    text: object, finish: str | None = "stop", usage: object = (100, 20), refusal: str | None = None, **sending: Any
) -> Answer:
    """A chat completion."""
    if isinstance(usage, tuple):
        usage = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    message = {"role": "assistant", "content": text, "refusal": refusal}
    body = {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "served-model",
        "choices": [{"index": 0, "finish_reason": finish, "message": message}],
        "usage": usage,
    }
    return Answer(json.dumps(body).encode(), **sending)


def fails(status: int, message: str = "no", code: str | None = None, kind: str | None = None, **sending: Any) -> Answer:
    """An error in OpenAI's form."""
    error = {"error": {"message": message, "type": kind, "code": code, "param": None}}
    return Answer(json.dumps(error).encode(), status, **sending)


class ChatServer:
    """Serves in threads while used as a context; `answer` makes the answer to each request."""

    def __init__(self, answer: Callable[[Asked], Answer]) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.most_at_once = 0
        self._at_once = 0
        self._attempts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def messages(self) -> list[str]:
        """The messages that came in, in their order."""
        return [asked.message for asked in self.asked]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, body: dict[str, Any], headers: Mapping[str, str], path: str) -> Answer:
        """Note a request and make its answer."""
        message = str(body["messages"][-1]["content"])
        with self._lock:
            asked = Asked(body, headers, path, self._attempts[message], time.monotonic())
            self._attempts[message] += 1
            self.asked.append(asked)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        answer = self.answer(asked)
        time.sleep(answer.delay_s)
        with self._lock:
            self._at_once -= 1
        return answer


def _handler(server: ChatServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            answer = server.take(body, dict(self.headers), self.path)
            try:
                self._send(answer)
            except OSError:
                self.close_connection = True  # the client did not wait

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            for name, value in ({"content-type": "application/json"} | answer.headers).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            sent = answer.body[: round(len(answer.body) * answer.sent)]
            for piece in [bytes([byte]) for byte in sent] if answer.drip_s else [sent]:
                self.wfile.write(piece)
                self.wfile.flush()
                time.sleep(answer.drip_s)
            self.close_connection = self.close_connection or answer.sent < 1

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: requests are kept in `asked`."""

    return Handler
