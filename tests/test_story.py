"""The evolution's story: who survives, what was added, which prompts are shown, and that any text is shown as it is."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from makers import METRICS, PAPER, SCORES, TO_FIVE
from markdown_it import MarkdownIt

from promptavideo import metrics
from promptavideo.additions import marked
from promptavideo.errors import InputError
from promptavideo.evolution import EvolutionConfig
from promptavideo.story import Stories, read_printed, tell, write

PRINTED = PAPER / "table5_first_iteration.csv"
HOSTILE = "a ball | <script>alert(1)</script> **x** _y_ `z` [l](http://e.org) $x$ &amp; # {{ 7*7 }}"


def scores(*items: tuple[str, str, int, str, float]) -> pd.DataFrame:
    """Scores of (prompt_id, prompt, candidate, text, the same 0-5 score of every metric)."""
    rows = []
    for prompt_id, prompt, candidate, text, value in items:
        row = {"prompt_id": prompt_id, "prompt": prompt, "candidate": candidate, "refined": text, "negative": None}
        row |= {"replicate": 0, "seed": 1, "key": f"{prompt_id}-{candidate}"}
        row |= {name: value / TO_FIVE[name] for name in METRICS} | {f"{name}_5": value for name in METRICS}
        rows.append(row)
    return SCORES.validate(pd.DataFrame(rows))


ROUNDS = [
    scores(("p", "a ball", 0, "a ball", 2.0), ("q", "a box", 0, "a box", 3.0), ("r", "a cone", 0, "a cone", 1.0)),
    scores(
        ("p", "a ball", 1, "a red ball", 3.0),
        ("p", "a ball", 2, "the balls, well lit", 1.0),
        ("p", "a ball", 3, "a big ball", 2.0),
        ("q", "a box", 1, "a blue box", 2.0),
        ("r", "a cone", 1, "a tall cone", 1.5),
    ),
    scores(("p", "a ball", 4, "a red ball, slowly", 2.5), ("q", "a box", 4, "a green box", 5.0)),
]


def config(**settings: Any) -> EvolutionConfig:
    return EvolutionConfig(prompts="train", operator="op", parents=2, **settings)


def told(rounds: list[pd.DataFrame] | None = None, **settings: Any) -> Stories:
    return tell(rounds or ROUNDS, config(**settings), metrics.PAPER, "mini")


@pytest.mark.parametrize(
    ("text", "original", "bold"),
    [
        ("a red ball rolls, vivid colors", "a ball rolling", "a *red* ball rolls, *vivid colors*"),
        ("A BALL", "a ball", "A BALL"),
        ("a ball", "", "a *ball*"),
        ("", "a ball", ""),
        ("vivid colors, in a steady shot. A ball", "a ball", "*vivid colors, in a steady shot*. A ball"),
        ("red ball and blue ball", "ball", "*red* ball and *blue* ball"),
        ("two balls, 2 boxes", "2 balls", "two balls, 2 *boxes*"),
        ("红色的球", "球", "*红色*的球"),
        (" the  ball\u202e, up", "ball", "the ball, *up*"),
    ],
)  # fmt: skip
def test_words_that_the_original_lacks_are_marked(text: str, original: str, bold: str) -> None:
    assert "".join(f"*{piece}*" if added else piece for piece, added in marked(text, original)) == bold


def test_survivors_are_the_best_of_all_rounds_so_far() -> None:
    (story,) = told(story=["p"]).stories
    assert [one.survivors for one in story.rounds] == [(), (1, 3), (1, 4)]
    assert [[(one.number, one.survives) for one in one.candidates] for one in story.rounds] == [
        [(0, True)], [(1, True), (2, False), (3, True)], [(4, True)]
    ]  # fmt: skip
    first = story.rounds[1].candidates[0]
    assert first.total == pytest.approx(7 * 3.0) and set(first.scores.values()) == {3.0}
    assert (story.best, story.gain) == (1, pytest.approx(7 * 1.0))
    assert told(story=["p"], weights={"DD": 0.5}).stories[0].gain == pytest.approx(6.5)


def test_without_names_the_median_and_the_largest_gain_are_shown_and_said_to_be() -> None:
    """The gains are 7, 14 and 3.5."""
    stories = told().stories
    assert [story.prompt for story in stories] == ["a ball", "a box"]
    assert [story.chosen for story in stories] == [
        "Its gain is the median among the 3 prompts.",
        "Its gain is the largest among the 3 prompts, so it is no typical one.",
    ]
    two = told([table[table["prompt_id"] != "q"] for table in ROUNDS]).stories
    assert [story.prompt for story in two] == ["a cone", "a ball"], "the lower one of two"
    one = told([table[table["prompt_id"] == "r"] for table in ROUNDS]).stories
    assert [story.chosen for story in one] == ["It is the only prompt."]
    assert [len(one.candidates) for one in one[0].rounds] == [1, 1, 0]


def test_prompts_are_named_by_id_or_text_in_the_order_given() -> None:
    stories = told(story=["r", " A  BALL. "]).stories
    assert [story.prompt for story in stories] == ["a cone", "a ball"]
    assert all("named in the configuration" in story.chosen for story in stories)
    with pytest.raises(InputError, match=r"evolution\.story: 'a dog' is no prompt of the evolution"):
        told(story=["p", "a dog"])
    with pytest.raises(InputError, match="no candidate beside the originals"):
        told(ROUNDS[:1])


def test_the_papers_example_stands_beside_with_the_sum_of_its_scores(tmp_path: Path) -> None:
    printed = read_printed(PRINTED)
    assert printed["candidate"].tolist() == ["original", "1", "2", "3"]
    assert printed["total"].tolist() == pytest.approx([19.26, 20.81, 20.28, 20.43])
    with pytest.raises(InputError, match="restore it"):
        read_printed(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("candidate,VQ\n1,none\n")
    with pytest.raises(InputError, match="restore it"):
        read_printed(tmp_path / "other.csv")


class Page(HTMLParser):
    """The texts of a page's elements, by tag."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link"):
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in self.open:
            self.texts[tag][-1] += data


def written(stories: Stories, folder: Path, scale: str = "laptop") -> tuple[str, str]:
    """The Markdown and the page."""
    write(stories, read_printed(PRINTED), scale, folder / "evolution")
    return tuple((folder / f"evolution.{suffix}").read_text() for suffix in ("md", "html"))  # type: ignore[return-value]


def test_both_files_tell_the_same_in_the_layout_of_table_5(tmp_path: Path) -> None:
    markdown, html = written(told(), tmp_path)
    head = ["candidate", "text", "VQ", "TC", "DD", "TVA", "FC", "AES", "MPS", "total", "survives"]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in markdown.splitlines() if line.startswith("|")]
    assert rows[0] == head and rows[-6] == [*head[:1], *head[2:10]]
    assert ["1", "a **red** ball", *["3.00"] * 7, "21.00", "yes"] in rows
    assert ["2", "the balls, **well lit**", *["1.00"] * 7, "7.00", ""] in rows
    assert rows[-3] == ["1", "2.63", "2.73", "2.92", "2.95", "2.42", "3.49", "3.67", "20.81"]
    assert "Survivors of all rounds so far: 1, 3." in markdown and "Best: candidate 1, +7.00 over" in markdown
    page = Page(html)
    assert page.open == [] and page.texts["ins"] == ["red", "well lit", "big", "red", "slowly", "blue", "green"]
    assert [row for row in page.texts["tr"] if row.startswith("1a red ball")] == [
        "1a red ball" + "3.00" * 7 + "21.00yes"
    ]
    assert page.texts["h2"] == ["a ball", "a box", "In the paper"]
    assert written(told(), tmp_path) == (markdown, html)
    assert "not comparable" in markdown and "not comparable" in html
    assert not any("not comparable" in text for text in written(told(), tmp_path, "paper"))


def test_hostile_texts_are_shown_as_they_are(tmp_path: Path) -> None:
    rounds = [
        scores(("p", HOSTILE, 0, HOSTILE, 2.0)),
        scores(("p", HOSTILE, 1, f"{HOSTILE} red | <img src=x onerror=alert(2)> *n*", 3.0)),
    ]
    markdown, html = written(told(rounds), tmp_path)
    page = Page(html)
    assert not {"script", "img"} & set(page.texts) and "default-src 'none'" in html
    assert page.texts["h2"][0] == HOSTILE and HOSTILE in page.texts["td"]
    assert f"{HOSTILE} red | <img src=x onerror=alert(2)> *n*" in page.texts["td"]
    assert "<script" not in markdown and "<img" not in markdown
    rendered = Page(MarkdownIt().enable("table").render(markdown))
    assert not {"script", "img", "a", "code", "em"} & set(rendered.texts)
    assert rendered.texts["h2"][0] == HOSTILE and HOSTILE in rendered.texts["td"]
    assert f"{HOSTILE} red | <img src=x onerror=alert(2)> *n*" in rendered.texts["td"]
    assert rendered.texts["strong"] == page.texts["ins"] == ["red | <img src", "onerror", "2)> *n"]
