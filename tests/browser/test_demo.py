"""The demo in a real browser: a prompt is typed, videos play side by side, and nothing leaves the machine."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browsing import until, watched
from playwright.sync_api import Page, expect
from use_boosters import finished_run

from studies import free_port

PROMPT = "a red ball moving left on a blue background"
HOSTILE = (
    "<img src=x onerror=\"document.title='taken'\"> {{ 7 * 7 }} ${document.title = 'taken'} </script>"
    "<script>document.title = 'taken'</script> \u202eright to left\u202c & 'quoted' `more`"
)
PLAYING = "() => [...document.querySelectorAll('#answer video')].length === {} && \
[...document.querySelectorAll('#answer video')].every((one) => one.currentTime > 0.1 && !one.paused)"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the command's page, in a finished run with random boosters."""
    run = finished_run(tmp_path_factory.mktemp("demo") / "run")
    port = free_port()
    said = (run / "demo.log").open("w")
    command = [sys.executable, "-m", "promptavideo.use.main", "demo", "--port", str(port)]
    served = subprocess.Popen(
        command, cwd=run, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=said,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
    )  # fmt: skip
    page = f"http://127.0.0.1:{port}/"
    try:
        wait_for(page, served, run / "demo.log")
        yield page
        served.send_signal(signal.SIGINT)
        assert served.wait(20) == 0, (run / "demo.log").read_text()
    finally:
        served.kill()
        said.close()


def wait_for(page: str, served: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(page, timeout=5).close()
            return
        except OSError:
            assert served.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.2)


def filmed(page: Page) -> None:
    """Wait for the answer."""
    page.locator("[data-state=filmed]").wait_for(timeout=60_000)


def test_a_prompt_is_rewritten_and_both_videos_play_together(
    address: str, page_factory: Callable[..., Page], tmp_path: Path
) -> None:
    page = page_factory(viewport={"width": 1200, "height": 1100})
    seen = watched(page)
    page.goto(address)
    page.get_by_label("Prompt").fill(PROMPT)
    page.get_by_role("checkbox", name="mini-t2v/sft").check()
    page.get_by_role("button", name="Rewrite and film").click()
    filmed(page)
    columns = page.locator("[data-column]")
    expect(columns).to_have_count(3)
    titles = [one.get_attribute("data-column") for one in columns.all()]
    assert titles == ["original", "mini-t2v/sft", "mini-t2v/dpo-2"], "as they were trained, not as they were clicked"
    until(page, PLAYING.format(3))
    starts = page.evaluate("[...document.querySelectorAll('#answer video')].map((one) => one.currentTime)")
    assert max(starts) - min(starts) < 0.25, starts
    expect(columns.nth(0).locator(".demo-text")).to_have_text(PROMPT)
    expect(columns.nth(0).locator("mark")).to_have_count(0)
    assert columns.nth(1).locator("mark").count() > 0
    rows = columns.nth(2).locator("tr")
    expect(rows).to_have_count(8)
    assert re.fullmatch(r"avg\s*\d\.\d\d\s*([+\u2212]\d\.\d\d|0\.00)", rows.nth(0).inner_text().replace("\t", " "))
    page.get_by_role("button", name="stop").click()
    assert page.evaluate("[...document.querySelectorAll('#answer video')].every((one) => one.paused)")
    page.get_by_role("button", name="replay").click()
    until(page, PLAYING.format(3))
    seen.check()


def test_a_seed_is_locked_or_drawn(address: str, page_factory: Callable[..., Page]) -> None:
    page = page_factory()
    seen = watched(page)
    page.goto(address)

    def shown() -> list[str | None]:
        page.get_by_label("Prompt").fill(PROMPT)
        page.get_by_label("Prompt").press("Enter")
        page.locator("[data-state=written]").wait_for(timeout=60_000)
        filmed(page)
        return [one.get_attribute("data-file") for one in page.locator("#answer video").all()]

    page.get_by_label("Seed", exact=True).fill("7")
    first = shown()
    assert len(first) == 2 and shown() == first
    expect(page.get_by_label("Seed", exact=True)).to_have_value("7")
    page.get_by_label("Lock the seed").uncheck()
    assert shown() != first
    assert page.get_by_label("Seed", exact=True).input_value() not in ("7", "")
    seen.check()


def test_bad_input_is_said_and_what_is_typed_stays_text(address: str, page_factory: Callable[..., Page]) -> None:
    page = page_factory()
    seen = watched(page)
    page.goto(address)
    button = page.get_by_role("button", name="Rewrite and film")
    button.click()
    expect(page.locator("#answer [role=alert]")).to_contain_text("the prompt is empty", timeout=30_000)
    page.get_by_label("Prompt").fill(HOSTILE)
    button.click()
    filmed(page)
    assert HOSTILE.replace("\u202e", "").replace("\u202c", "") == page.locator(
        "[data-column=original] .demo-text"
    ).inner_text().replace("\u202e", "").replace("\u202c", "")
    page.wait_for_timeout(500)
    assert page.title() == "Prompt-A-Video" and page.locator("#answer img, #answer script").count() == 0
    page.get_by_role("checkbox", name="mini-t2v/dpo-2").uncheck()
    button.click()
    expect(page.locator("#answer [role=alert]")).to_have_text("choose a booster", timeout=30_000)
    seen.check()


def test_less_motion_and_a_narrow_dark_window(address: str, page_factory: Callable[..., Page]) -> None:
    page = page_factory(viewport={"width": 400, "height": 800}, reduced_motion="reduce", color_scheme="dark")
    seen = watched(page)
    page.goto(address)
    page.get_by_label("Prompt").fill(PROMPT)
    page.get_by_role("button", name="Rewrite and film").click()
    filmed(page)
    page.wait_for_timeout(800)
    assert page.evaluate("[...document.querySelectorAll('#answer video')].every((one) => one.paused)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="play", exact=True).click()
    until(page, PLAYING.format(2))
    seen.check()
