"""The report: one page without scripts or network, and what it begins with."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from makers import FAST, PAPER, RAW, ROOT, changed, evaluated
from PIL import Image

from promptavideo.config import check
from promptavideo.findings import Finding
from promptavideo.gains import Pair, gains_table, notes
from promptavideo.layout import REWARDS
from promptavideo.prompts import prompt_id
from promptavideo.report import Example, Opening, Played, ReportFigure, ReportTable, write_report
from promptavideo.results import arm_of
from promptavideo.steps import pictures
from promptavideo.steps.report import report
from promptavideo.store import read_manifest
from promptavideo.study import Study
from promptavideo.tables import footnotes, videoscore_table, with_paper_rows, write, write_provenance
from promptavideo.video import read_video

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
        self.videos: list[dict[str, str | None]] = []
        self.links: list[str | None] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag == "img":
            self.images.append(dict(attrs))
        if tag == "video":
            self.videos.append(dict(attrs))
        if tag == "a":
            self.links.append(dict(attrs)["href"])

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


def opening(png: Path, text: str) -> Opening:
    """Everything that a report can begin with, of one text."""
    played = [Played(text, text, b"film", "video"), Played("dpo-2", text, b"still", "image")]
    return Opening([Finding(text, [text])], [text], ReportFigure(text, png, text), [Example(text, text, played)])


@pytest.mark.parametrize("text", HOSTILE)
def test_what_it_begins_with_is_escaped_and_plays_without_scripts(tmp_path: Path, png: Path, text: str) -> None:
    path = tmp_path / "report.html"
    write_report(path, [], [], {}, opening(png, text))
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert "script" not in page.tags and "\u202e" not in html
    (video,) = page.videos
    assert video["src"] == "data:video/mp4;base64," + base64.b64encode(b"film").decode()
    assert {"controls", "loop", "muted", "autoplay", "playsinline"} <= video.keys()
    assert page.images[-1]["src"] == "data:image/jpeg;base64," + base64.b64encode(b"still").decode()
    shown = text.replace("\u202e", "")
    assert page.texts.count(shown) >= 7 and f"“{shown}”" in page.texts
    (policy,) = re.findall(r'content="(default-src[^"]+)"', html)
    assert policy == "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
    assert "http://" not in html and "https://" not in html


def test_the_gallery_is_linked_where_there_is_one_alone(tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", [], [], {})
    assert Page((tmp_path / "r.html").read_text()).links == []
    write_report(tmp_path / "r.html", [], [], {}, gallery="gallery/index.html")
    assert Page((tmp_path / "r.html").read_text()).links == ["gallery/index.html"]


def test_the_page_has_a_dark_side_and_scrolls_tables_alone(tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", [ReportTable("t", pd.DataFrame({"long_name": [1.5]}), [])], [], {})
    html = (tmp_path / "r.html").read_text()
    assert "@media (prefers-color-scheme: dark)" in html and 'name="viewport"' in html
    assert '<div class="scroll">\n<table>' in html and "long_<wbr>name" in html


PROMPTS = [*HOSTILE[:3], "a red ball rolls", "a blue ball rolls"]
GAINS = dict(zip(PROMPTS, (0.25, 2.0, 0.5, -1.0, 1.5), strict=True))  # the median is 0.5, the best 2.0


def ran(monkeypatch: pytest.MonkeyPatch, folder: Path, **sections: Any) -> Study:
    """A run in a folder, all but its report."""
    monkeypatch.chdir(folder)
    evaluation = RAW["evaluation"] | {"sets": {"heldout": {"prompts": "heldout", "replicates": 2}}}
    judges = {"pixels": RAW["judges"]["pixels"]}
    raw = changed("seed", 1) | {"evaluation": evaluation, "vbench": {}, "judges": judges} | sections
    study = Study(check(raw, ROOT), ROOT)
    (track,) = study.tracks
    arms = {}
    for batch in study.evaluations(track):
        name = batch.name.rpartition("/")[2]
        added = {"sft": 0.25, "dpo-1": 0.5, "dpo-2": 1.0}.get(name, 0.0)
        texts = {
            one: (one if name == "original" else f"{one}, by {name}", 2.0 + added * gain) for one, gain in GAINS.items()
        }
        evaluated(study, batch, texts)
        arms[name] = arm_of(study, batch)
    scores = with_paper_rows(videoscore_table(list(arms.values()), FAST), PAPER)
    pairs = [Pair(arms[one], arms[other]) for one in study.boosted(track) for other in study.unboosted(track)]
    tables = {"videoscore": (scores, footnotes(scores, "laptop"))}
    if pairs:
        tables["gains"] = (gains_table(pairs, FAST), notes("laptop", []))
    for name, (table, said) in tables.items():
        write(table, Path("results/tables", name), name, said)
        write_provenance(Path("results/tables", name), [{}] * len(table))
    Path(f"results/{track}/figures").mkdir(parents=True)
    for name in study.figures(track):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(f"results/{track}/figures/{name}.png")
    pictures.qualitative(study)
    return study


def test_a_run_opens_with_its_gains_and_the_videos_of_the_median_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = ran(monkeypatch, tmp_path)
    report(study)
    html = (tmp_path / "results/report.html").read_text(encoding="utf-8")
    page = Page(html)
    table = pd.read_csv(tmp_path / "results/tables/gains.csv").set_index(["refiner", "against"])
    row = table.loc[("dpo-2", "original")]
    half = (row["diff_ci_high"] - row["diff_ci_low"]) / 2
    (found,) = re.findall(r'<p class="found">(.+)</p>', html)
    assert found.startswith(
        "On 5 prompts of heldout, mini-t2v films dpo-2&#39;s texts with avg 2.65 against 2.00 of the original prompts: "
        f"+0.65 ± {half:.2f} (over llm: +0.65 ± "
    )
    assert re.findall(r"<li>(\S+):", html) == ["sft", "dpo-1"]
    (warning,) = re.findall(r'<p class="warning">(.+)</p>', html)
    assert "laptop-scale" in warning and html.index(warning) < html.index("<table"), "right there, not below a table"
    median = HOSTILE[2]
    assert f"“{median}”" in page.texts, "not that of the best gain"
    assert any(
        "the prompt of the median gain of dpo-2" in text and "(+0.50, of 5 prompts)" in text for text in page.texts
    )
    assert [video["aria-label"] for video in page.videos] == ["original", "llm", "dpo-2"]
    for text in (median, f"{median}, by llm", f"{median}, by dpo-2"):
        assert text in page.texts
    for video, batch in zip(page.videos, study.played("mini-t2v").values(), strict=True):
        assert all(one.prompt_id in map(prompt_id, PROMPTS) for one in read_manifest(Path(study.manifests(batch)[0])))
        copy = tmp_path / "copy.mp4"
        copy.write_bytes(base64.b64decode((video["src"] or "").removeprefix("data:video/mp4;base64,")))
        clip = read_video(copy)
        assert clip.frames.shape == (8, 256, 256, 3) and clip.fps == 8
    assert "script" not in page.tags and "median of all 5 prompts" in html, "the figure's caption"
    assert html.index("What was found") < html.index("Scores by refiner") < html.index("<video") < html.index("<table")


def test_every_number_of_its_tables_is_a_cell_or_half_an_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report(ran(monkeypatch, tmp_path))
    html = (tmp_path / "results/report.html").read_text(encoding="utf-8")
    known, halves = set[str](), set[str]()
    for name in ("videoscore", "gains"):
        table = pd.read_csv(tmp_path / f"results/tables/{name}.csv")
        cells = table.select_dtypes("number")
        known |= {f"{value:z.{digits}f}" for value in cells.to_numpy(float).ravel() for digits in (0, 3, 4)}
        for low in (str(one) for one in table if str(one).endswith("_ci_low")):
            halves |= {f"{half:.3f}" for half in (table[low.replace("_low", "_high")] - table[low]) / 2}
    shown = re.findall(r'<td class="number"><span>([^<]*)</span>(?: <span class="half">± ([^<]*)</span>)?', html)
    assert len(shown) > 60
    assert {value for value, _ in shown if value} <= known and {half for _, half in shown if half} <= halves


def test_images_are_shown_as_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stills = {"kind": "openai-image", "base_url": "http://localhost:1/v1", "model": "paints", "key_variable": None}
    stills |= {"size": "64x64", "price_per_image": 0.1, "seconds_per_video": 1.0}
    study = ran(monkeypatch, tmp_path, generators={"t2i": stills})
    assert study.medium("t2i") == "image" and study.files(study.played("t2i")["dpo-2"]).scores(REWARDS)
    report(study)
    page = Page((tmp_path / "results/report.html").read_text(encoding="utf-8"))
    assert not page.videos
    played = [one for one in page.images if (one["src"] or "").startswith("data:image/jpeg;base64,")]
    assert [one["alt"] for one in played] == ["original", "llm", "dpo-2"]


def test_without_a_booster_nothing_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation = RAW["evaluation"] | {"sets": {"heldout": {"prompts": "heldout"}}, "refiners": ["original", "llm"]}
    report(ran(monkeypatch, tmp_path, evaluation=evaluation))
    html = (tmp_path / "results/report.html").read_text(encoding="utf-8")
    assert 'class="found"' not in html and "<video" not in html and "Scores by refiner" in html
