"""The gallery's page: one HTML file with its data, scripts and a style sheet beside it, and no request to anywhere."""

from pathlib import Path

from promptavideo.files import write_text
from promptavideo.gallery.collect import Json
from promptavideo.pages import asset, embedded, page

BESIDE = ("player.js", "gallery.js", "gallery.css")
"""What lies beside the page, so that its policy can forbid scripts within it."""


def write(folder: Path, content: Json, notes: list[str]) -> None:
    """Write `index.html` with what is beside it; the page comes last.

    Args:
        folder: Where `collect` put the copies.
        content: What it returned.
        notes: Sentences on the numbers, shown at the top.
    """
    for name in BESIDE:
        write_text(folder / name, asset(name))
    html = page("gallery.html.j2", data=embedded(content), notes=notes)
    write_text(folder / "index.html", html)
