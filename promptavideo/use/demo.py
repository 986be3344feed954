"""The demo: a page on this machine where a prompt is rewritten and both videos play side by side."""

import logging
import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from promptavideo.errors import InputError, PromptAVideoError, first_line
from promptavideo.pages import asset, page
from promptavideo.study import Study
from promptavideo.use import prompts
from promptavideo.use.desk import Answer, Desk, boosters

if TYPE_CHECKING:
    from gradio import Blocks

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
"""The page is for the person at this machine: whoever opens it films on it."""

MOST_SEED = 2**31 - 1

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
"""gradio makes scripts and styles within the page; nothing of it comes from, or goes to, another machine."""

FONT = ("system-ui", "sans-serif")
MONO = ("ui-monospace", "monospace")
"""Fonts of this machine: gradio's own come from a server."""


def serve(study: Study, generator: str, given: Sequence[str], port: int) -> None:
    """Serve the page until it is interrupted.

    Args:
        study: The run, or what a checkout is configured for.
        generator: Name of the one that films.
        given: Boosters that a user named; see `desk.boosters`.
        port: Of 127.0.0.1.

    Raises:
        InputError: gradio is not installed, the port is taken, a booster is not there, or a model or a device is
            missing.
    """
    with tempfile.TemporaryDirectory(prefix="promptavideo-demo-") as folder:
        _gradio()
        desk = Desk(study, generator, boosters(study, generator, given), Path(folder).resolve())
        desk.warm()
        started = start(desk, port)
        log.info("open http://%s:%d in a browser; Ctrl-C ends it", HOST, port)
        started.block_thread()


def start(desk: Desk, port: int | None = None) -> "Blocks":
    """Serve the page in threads of its own.

    Args:
        desk: What answers; its folder is served too.
        port: Of 127.0.0.1; any that is free when absent.

    Returns:
        The page; `local_url` is its address, and `close` ends it.

    Raises:
        InputError: The port is taken, or gradio is not installed.
    """
    from starlette.middleware import Middleware

    gradio, made = _gradio(), blocks(desk)
    try:
        made.launch(
            server_name=HOST,
            server_port=port,
            share=False,
            quiet=True,
            show_error=False,
            allowed_paths=[str(desk.folder)],
            max_file_size=1,  # byte: nothing is uploaded
            footer_links=[],
            theme=gradio.themes.Base(font=list(FONT), font_mono=list(MONO)),
            css=asset("demo.css"),
            app_kwargs={"middleware": [Middleware(Guarded)]},
            prevent_thread_lock=True,
        )
    except OSError as error:
        raise InputError(f"port {port} cannot be had ({error}); take another: --port") from error
    return made


def blocks(desk: Desk) -> "Blocks":
    """The page.

    Args:
        desk: What answers.
    """
    gradio, names = _gradio(), list(desk.offered)
    with gradio.Blocks(title="Prompt-A-Video", analytics_enabled=False) as made:
        gradio.HTML(page("demo_head.html.j2", generator=desk.generator, spoken=desk.spoken), padding=False)
        with gradio.Row(equal_height=False):
            prompt = gradio.Textbox(
                label="Prompt", placeholder="a red ball moves left", lines=1, max_lines=4, scale=4, autofocus=True,
                max_length=10_000,
            )  # fmt: skip
            seed = gradio.Number(label="Seed", value=desk.study.config.seed, precision=0, minimum=0, maximum=MOST_SEED)
            locked = gradio.Checkbox(label="Lock the seed", value=True)
        asked = gradio.CheckboxGroup(names, value=names[-1:], label="Boosters")
        button = gradio.Button("Rewrite and film", variant="primary")
        if examples := desk.examples():
            gradio.Examples(examples, prompt, label="Prompts that no booster was trained on", elem_id="examples")
        shown = gradio.HTML(elem_id="answer", js_on_load=asset("player.js") + asset("demo.js"), padding=False)

        def answer(*given: Any) -> Iterator[tuple[str, Any]]:
            yield from answers(desk, *given)

        for event in (button.click, prompt.submit):
            event(
                answer, [prompt, asked, seed, locked], [shown, seed], concurrency_limit=1, concurrency_id="desk",
                trigger_mode="once", api_visibility="private",
            )  # fmt: skip
    return made


def answers(
    desk: Desk, prompt: str, names: Sequence[str], seed: float | None, locked: bool
) -> Iterator[tuple[str, int | None]]:
    """What the page shows after a click: the texts as soon as they are written, then all of it.

    Args:
        desk: What answers.
        prompt: As typed.
        names: Of the boosters that were chosen.
        seed: As shown; None of an empty field.
        locked: Whether to take that seed; another one is drawn otherwise.

    Yields:
        HTML, and the seed that was taken.
    """
    drawn = int(seed) if locked and seed is not None else random.randint(0, MOST_SEED)
    try:
        text = prompts.one(prompt)
        if not names:
            raise InputError("choose a booster")
        names = sorted(names, key=lambda one: [*desk.offered, one].index(one))  # a page gives them as they were clicked
        if not 0 <= drawn <= MOST_SEED:
            raise InputError(f"the seed must be from 0 to {MOST_SEED}")
        boosted = desk.write(text, names, drawn)
        yield _html(desk.written(boosted, names, drawn)), drawn
        yield _html(desk.filmed(desk.look(boosted, drawn), names, drawn)), drawn
    except PromptAVideoError as error:
        yield page("demo_answer.html.j2", answer=None, error=str(error)), drawn
    except Exception as error:
        from promptavideo.devices import ran_out

        log.exception("the demo could not answer")
        said = "memory does not suffice; choose fewer boosters" if ran_out(error) else first_line(error)
        yield page("demo_answer.html.j2", answer=None, error=said), drawn


def _gradio() -> Any:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
    try:
        import gradio
    except ImportError as error:
        raise InputError('the demo needs gradio: make demo, or pip install "promptavideo[demo]"') from error
    return gradio


class Guarded:
    """Adds the page's policy to every answer; refuses other hosts' names, and what pages of other sites send."""

    def __init__(self, app: Any) -> None:
        from starlette.middleware.trustedhost import TrustedHostMiddleware

        self._app = TrustedHostMiddleware(app, [HOST, "localhost"])

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """An ASGI application."""
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            origin = dict(scope["headers"]).get(b"sec-fetch-site", b"none")
            if origin not in (b"none", b"same-origin"):
                from starlette.responses import PlainTextResponse

                await PlainTextResponse("a page of another site may send nothing here", 403)(scope, receive, send)
                return

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode())]
            await send(message)

        await self._app(scope, receive, guarded)


def _html(answer: Answer) -> str:
    return page("demo_answer.html.j2", answer=answer, error="", address=_address)


def _address(path: Path) -> str:
    """Where the page finds a file of the desk's folder."""
    return f"gradio_api/file={quote(str(path))}"
