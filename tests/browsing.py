"""A browser for tests of pages, and what it notices that no page of this project may do."""

import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Page

CHROMIUM = "/usr/bin/chromium"
"""Debian's; `scripts/install_browser.sh` installs it."""

SWITCHES = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
"""So that the browser itself asks the network for nothing, and runs as root."""

HERE = ("127.0.0.1", "localhost")
LOCAL = ("file", "data", "blob", "about")

TELL_VIOLATIONS = """
addEventListener("securitypolicyviolation", event => {
  console.error("CSP violation: " + event.violatedDirective + " " + event.blockedURI);
});
"""


@dataclass
class Watched:
    """What a page has done since it is watched."""

    foreign: list[str] = field(default_factory=list)
    """Requests that leave this machine."""
    errors: list[str] = field(default_factory=list)
    """Of the console, and exceptions that nothing caught."""
    violations: list[str] = field(default_factory=list)
    """Of the page's Content-Security-Policy."""

    def check(self) -> None:
        """Fail if there is anything."""
        assert not self.foreign, self.foreign
        assert not self.violations, self.violations
        assert not self.errors, self.errors


def watched(page: Page) -> Watched:
    """Watch a page; call it before the page goes anywhere."""
    seen = Watched()

    def asked(url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in LOCAL and parts.hostname not in HERE:
            seen.foreign.append(url)

    def told(kind: str, text: str) -> None:
        if "CSP violation" in text or "Content Security Policy" in text:
            seen.violations.append(text)
        elif kind == "error":
            seen.errors.append(text)

    page.add_init_script(TELL_VIOLATIONS)
    page.on("request", lambda request: asked(request.url))
    page.on("console", lambda message: told(message.type, message.text))
    page.on("pageerror", lambda error: told("error", str(error)))
    return seen


def until(page: Page, condition: str, timeout_s: float = 20.0) -> None:
    """Wait until JavaScript says yes; playwright's own `wait_for_function` is what a strict policy forbids."""
    end = time.monotonic() + timeout_s
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"never: {condition}"
        page.wait_for_timeout(50)
