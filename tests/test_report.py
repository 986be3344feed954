import base64
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from promptavideo.report import ReportFigure, ReportTable, write_report

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7*7 }} $x^2$ | 100% \\input{a}",
    "a\u202eb",
]


class Page(HTMLParser):
    """Tags, attributes and texts of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def png(tmp_path: Path) -> Path:
    path = tmp_path / "figure.png"
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    return path


def test_everything_is_in_one_file_and_escaped(tmp_path: Path, png: Path) -> None:
    table = pd.DataFrame({"set": [*HOSTILE[:3], "paper"], HOSTILE[1]: [0.12345, np.nan, -2.0, 3.0]})
    path = tmp_path / "report.html"

    def make() -> str:
        write_report(
            path,
            [ReportTable(HOSTILE[1], table, HOSTILE)],
            [ReportFigure(HOSTILE[1], png, HOSTILE[2])],
            {HOSTILE[0]: [{"prompt": HOSTILE[0]}]},
        )
        return path.read_text(encoding="utf-8")

    html = make()
    page = Page(html)
    assert "script" not in page.tags
    assert [image["alt"] for image in page.images] == [HOSTILE[1]]
    source = page.images[0]["src"] or ""
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == png.read_bytes()
    for text in (*HOSTILE[:3], "ab", "0.123", "-2.000"):
        assert text in page.texts
    assert "nan" not in page.texts
    assert any('"prompt": "<script>alert(1)</script>"' in text for text in page.texts)
    assert html.count('class="paper"') == 1
    assert "default-src 'none'" in html and "http://" not in html and "https://" not in html
    assert make() == html


def test_a_report_without_anything_is_still_a_page(tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", [], [], {})
    page = Page((tmp_path / "r.html").read_text())
    assert page.texts.count("Prompt-A-Video, reproduced") == 2 and "h2" not in page.tags
