"""Pictures of this project's pages, taken in a real browser, for its documents."""

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from promptavideo.errors import InputError
from promptavideo.files import atomic_path

if TYPE_CHECKING:
    from playwright.sync_api import Page

log = logging.getLogger(__name__)

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
"""The commands of browsers that playwright drives, the first that there is."""

SWITCHES = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
"""So that the browser asks the network for nothing, and runs as root."""


@dataclass(frozen=True)
class Picture:
    """One picture of a page."""

    address: str
    """Of the page."""
    size: tuple[int, int]
    """Width and height of the window, in pixels."""
    prepare: "Callable[[Page], None]"
    """Brings the page into the state that is shown."""


def of_file(path: Path, fragment: str = "") -> str:
    """The address of a page that is a file.

    Args:
        path: The HTML file.
        fragment: What follows behind it, with its `#`.

    Raises:
        InputError: It is missing.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such page; the workflow makes it")
    return path.resolve().as_uri() + fragment


def take(pictures: Mapping[Path, Picture]) -> None:
    """Take pictures as PNG files.

    Args:
        pictures: Each by its target.

    Raises:
        InputError: There is no browser.
    """
    from playwright.sync_api import sync_playwright

    command = next(filter(None, map(shutil.which, BROWSERS)), None)
    if command is None:
        raise InputError(f"there is no {' or '.join(BROWSERS)}; install Debian's: scripts/install_browser.sh, as root")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=command, args=list(SWITCHES))
        for path, picture in pictures.items():
            width, height = picture.size
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
            page.goto(picture.address)
            picture.prepare(page)
            with atomic_path(path) as partial:
                page.screenshot(path=partial)
            page.close()
            log.info("%s: %d x %d pixels", path, width, height)
        browser.close()


def of_gallery(page: "Page") -> None:
    """Scroll to the first row, with its videos."""
    row = page.locator("article").first
    row.scroll_into_view_if_needed()
    page.wait_for_function("() => [...document.querySelectorAll('article video')].some((one) => one.currentTime > 0.3)")


def of_study(page: "Page") -> None:
    """Agree, and wait for the first pair."""
    page.locator("#agree").click()
    page.locator('[data-answer="left"]:enabled').wait_for()
    page.wait_for_function("() => [...document.querySelectorAll('video')].every((one) => one.currentTime > 0.3)")


def of_demo(page: "Page") -> None:
    """Ask about the first of the prompts that the page suggests, and wait until all videos play."""
    page.locator("#examples button").first.click()
    _until(page, "document.querySelector('textarea').value !== ''")
    page.get_by_role("button", name="Rewrite and film").click()
    page.locator("[data-state=filmed], #answer [role=alert]").wait_for(timeout=300_000)
    _until(page, "[...document.querySelectorAll('#answer video')].every((one) => one.currentTime > 0.3)")
    if not page.locator("[data-state=filmed]").count():
        raise InputError(f"the demo says: {page.locator('#answer').inner_text()}")


def _until(page: "Page", condition: str) -> None:
    """Wait for half a minute, at most; the demo's policy forbids what playwright's own waiting takes."""
    for _ in range(600):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise InputError(f"{page.url}: half a minute went by without {condition}")
