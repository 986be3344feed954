"""The server of a user study: gives page and videos, hands out places, and stores each vote before it answers."""

import hmac
import logging
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from promptavideo.rating import site
from promptavideo.rating.ballots import Ballots, BusyError, FullError, Vote
from promptavideo.rating.plan import ANSWERS, Plan

BODY = 64 * 1024
"""The largest body of a request, in bytes."""

LONGEST_MS = 3_600_000
"""The longest time that an answer is believed to have taken; the clock of a rater's device may jump."""

FULL = "This study has all the people that it needs. Thank you for your interest."
TOKEN = "study-token"
"""The cookie that holds the token of the link."""

Id = Annotated[str, Field(min_length=8, max_length=64, pattern=r"^[A-Za-z0-9-]+$")]

HEADERS = {
    b"content-security-policy": (site.policy(False) + "; frame-ancestors 'none'").encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
}


class _Asked(BaseModel):
    """What every request says."""

    model_config = ConfigDict(extra="forbid", strict=True)

    plan: str
    rater: Id


class _Undo(_Asked):
    vote: Id


class _Vote(_Undo):
    position: int
    question: str
    round: int = Field(ge=0, le=1000)
    left: str
    right: str
    answer: str
    milliseconds: int | None = None

    @field_validator("milliseconds", mode="before")
    @classmethod
    def _believed(cls, value: object) -> object:
        """None for a time that no answer takes, which a device's clock may give."""
        return value if isinstance(value, int) and 0 <= value <= LONGEST_MS else None


Body = TypeVar("Body", bound=_Asked)


def application(plan: Plan, folder: Path, ballots: Ballots, token: str | None = None) -> Starlette:
    """The server of a study.

    Args:
        plan: Of the study.
        folder: What `site.write` wrote.
        ballots: Where votes go.
        token: What a link must hold; needed where others than this machine can reach the server. Without one, requests
            must name this machine as their host, so that no page of another site reaches the server through a name.
    """
    files = {f"/{site.VIDEOS}/{name}" for name in plan.files} | {f"/{name}" for name in site.SHELL[1:]}
    shell = (folder / site.SHELL[0]).read_text(encoding="utf-8")
    shell = shell.replace('data-server="no"', 'data-server="yes"').replace(site.policy(True), site.policy(False))

    async def index(request: Request) -> Response:
        response = HTMLResponse(shell, headers={"cache-control": "no-store"})
        if token:
            response.set_cookie(TOKEN, token, httponly=True, samesite="strict")
        return response

    async def file(request: Request) -> Response:
        # Only what the plan names is served, so no path leads elsewhere.
        if request.url.path not in files:
            raise HTTPException(404, "there is no such file")
        return FileResponse(folder / request.url.path.lstrip("/"), headers={"cache-control": "no-cache"})

    async def join(request: Request) -> Response:
        asked = await _body(request, _Asked, plan)
        slot = await run_in_threadpool(ballots.join, asked.rater)
        return JSONResponse({"slot": slot, "answers": await run_in_threadpool(ballots.answers, asked.rater)})

    async def vote(request: Request) -> Response:
        asked = await _body(request, _Vote, plan)
        slot = await _slot(ballots, asked.rater)
        positions = plan.slots[slot - 1]
        if not 1 <= asked.position <= len(positions):
            raise HTTPException(422, f"place {slot} has no position {asked.position}")
        position = positions[asked.position - 1]
        if asked.question not in plan.questions:
            raise HTTPException(422, "there is no such question")
        if (asked.left, asked.right) != plan.named[position.item].files(position):
            raise HTTPException(422, "other videos belong to this position")
        if asked.answer not in ANSWERS:
            raise HTTPException(422, f"an answer is one of {', '.join(ANSWERS)}")
        given = Vote(**asked.model_dump(exclude={"plan"}))
        stored = await run_in_threadpool(ballots.vote, slot, given)
        if not stored:
            raise HTTPException(409, "another vote has this name")
        return JSONResponse({"stored": stored})

    async def undo(request: Request) -> Response:
        asked = await _body(request, _Undo, plan)
        await _slot(ballots, asked.rater)
        if not await run_in_threadpool(ballots.undo, asked.rater, asked.vote):
            raise HTTPException(404, "this rater gave no such vote")
        return JSONResponse({"undone": asked.vote})

    routes = [
        Route("/", index),
        Route("/index.html", index),
        Route("/api/join", join, methods=["POST"]),
        Route("/api/vote", vote, methods=["POST"]),
        Route("/api/undo", undo, methods=["POST"]),
        Route("/{path:path}", file),
    ]
    guard = (
        Middleware(_Token, token=token) if token else Middleware(TrustedHostMiddleware, allowed_hosts=list(LOOPBACK))
    )
    return Starlette(
        routes=routes,
        middleware=[Middleware(_Headers), guard],
        exception_handlers={
            HTTPException: _refused,
            BusyError: _busy,
            FullError: _full,
        },
    )


LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def only_here(host: str) -> bool:
    """Whether a host is this machine itself, which nobody else reaches."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _body(request: Request, kind: type[Body], plan: Plan) -> Body:
    """The body of a request, which is never read further than `BODY`.

    Raises:
        HTTPException: It is too long, no JSON, or of another plan.
    """
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise HTTPException(415, "send application/json")
    if request.headers.get("content-length", "0").isdigit() and int(request.headers.get("content-length", "0")) > BODY:
        raise HTTPException(413, f"a body has {BODY} bytes at most")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY:
            raise HTTPException(413, f"a body has {BODY} bytes at most")
    try:
        asked = kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        raise HTTPException(400, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if asked.plan != plan.id:
        raise HTTPException(409, f"this is the study {plan.id}; open its link again")
    return asked


async def _slot(ballots: Ballots, rater: str) -> int:
    slot = await run_in_threadpool(ballots.slot, rater)
    if slot is None:
        raise HTTPException(403, "this rater has not joined; open the link again")
    return slot


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    # What is left of a body is not read: the connection ends.
    headers = {"connection": "close"} if error.status_code == 413 else {}
    return JSONResponse({"error": error.detail}, error.status_code, headers)


def _busy(request: Request, error: Exception) -> Response:
    logging.warning("the database of votes is busy (%s); the page tries again", error)
    return JSONResponse({"error": "the database is busy; try again"}, 503, {"retry-after": "1"})


def _full(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": FULL}, 410)


class _Headers:
    """Says with every answer what a page may do."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS.items()]
            await send(message)

        await self.app(scope, receive, with_headers)


class _Token:
    """Answers only who has the token: in the link, or in the cookie that the page was given."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope)
            given = request.query_params.get("token") or request.cookies.get(TOKEN) or ""
            if not hmac.compare_digest(given.encode(), self.token.encode()):
                response = JSONResponse({"error": "this link lacks its token; ask for the whole link"}, 403)
                await response(scope, receive, send)
                return
        await self.app(scope, receive, send)


def serve(app: Any, host: str, port: int) -> None:
    """Serve until the process is told to end."""
    import uvicorn

    uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False, server_header=False)
