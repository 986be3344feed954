"""The page of a user study in a real browser: raters who are interrupted in every way, and what they clicked."""

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browsing import until, watched
from playwright.sync_api import Page, expect

from promptavideo.rating.collect import collect
from studies import Made, make_study, serving

PROMPTS = [f"a ball number {number} rolls" for number in range(6)]
WIDTHS = {"phone": {"width": 400, "height": 800}, "desk": {"width": 1200, "height": 900}}
HOSTILE = [
    "</script><script>document.title = 'taken'</script>",
    "\"quotes\" 'and' `more` & <b>bold</b> <img src=x onerror=alert(1)>",
    "\u202eright to left\u202c \u05e9\u05dc\u05d5\u05dd \u200f and \u2028 lines",
    "long " * 1000,
]
AWAY = re.compile(r"ERR_CONNECTION_(REFUSED|RESET)|ERR_SOCKET|ERR_EMPTY|Failed to load resource")
"""What a browser says by itself of a server that was killed."""


@pytest.fixture(scope="module")
def twelve(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A study of 12 pairs a rater, two of which are shown again, with one check: 15 positions."""
    return make_study(tmp_path_factory.mktemp("twelve"), prompts=PROMPTS, each=12, repeats=2, checks=1, raters=2)


def stored(study: Made) -> list[tuple[str, int, str]]:
    """What of the votes in the server's database was not taken back: rater, position and answer."""
    (path,) = study.votes.glob("*.sqlite")
    connection = sqlite3.connect(path)
    query = "SELECT rater, position, answer FROM votes WHERE vote NOT IN (SELECT vote FROM undone) ORDER BY 1, 2"
    rows = connection.execute(query).fetchall()
    connection.close()
    return rows


class Rater:
    """A simulated rater at a page, who writes down what was clicked."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address, self.seen = page, address, watched(page)
        self.clicked: dict[int, str] = {}

    def begin(self) -> "Rater":
        self.page.goto(self.address)
        self.page.get_by_role("button", name="I agree, begin").click()
        self.waits_for(1)
        return self

    def waits_for(self, position: int) -> None:
        expect(self.page.locator("#pair-heading")).to_have_text(re.compile(f"^Pair {position} of"), timeout=30_000)
        expect(self.button("left")).to_be_enabled(timeout=30_000)

    def button(self, answer: str) -> Any:
        return self.page.locator(f"[data-answer={answer}]")

    @property
    def position(self) -> int:
        return int(re.match(r"Pair (\d+)", self.page.locator("#pair-heading").inner_text())[1])

    def click(self, answer: str) -> None:
        position = self.position
        self.waits_for(position)
        self.button(answer).click()
        self.clicked[position] = answer

    def press(self, key: str, answer: str) -> None:
        position = self.position
        self.waits_for(position)
        self.page.keyboard.press(key)
        self.clicked[position] = answer

    @property
    def name(self) -> str:
        return self.page.evaluate("JSON.parse(Object.values(localStorage)[0]).rater")

    def ended(self) -> None:
        expect(self.page.get_by_role("heading", name="That was all. Thank you!")).to_be_visible(timeout=30_000)


def test_two_raters_who_are_interrupted_in_every_way(twelve: Made, page_factory: Callable[..., Page]) -> None:
    with serving(twelve) as server:
        one = Rater(page_factory(viewport=WIDTHS["phone"]), server.address).begin()
        two = Rater(page_factory(viewport=WIDTHS["desk"], color_scheme="dark"), server.address).begin()
        total = len(twelve.plan.slots[0])

        one.click("left")
        two.press("ArrowRight", "right")
        one.waits_for(2)
        one.button("right").dblclick()
        one.clicked[2] = "right"
        one.waits_for(3)
        two.press("3", "both-good")
        two.waits_for(3)

        one.page.reload()
        one.waits_for(3)
        one.click("both-poor")
        one.waits_for(4)

        two.page.goto("about:blank")
        two.page.go_back()
        two.waits_for(3)
        two.press("4", "both-poor")
        two.waits_for(4)

        # What is answered while the server is down is stored when it is back, even by a page that was reloaded.
        server.kill()
        one.click("left")
        expect(one.page.locator("#status")).to_contain_text("Not saved yet", timeout=30_000)
        expect(one.button("left")).to_be_disabled()
        two.press("ArrowLeft", "left")
        expect(two.page.locator("#status")).to_contain_text("Not saved yet", timeout=30_000)
        server.start()
        one.waits_for(5)
        two.page.reload()
        two.waits_for(5)

        # An answer that is taken back is given anew.
        one.click("right")
        one.waits_for(6)
        one.page.get_by_role("button", name="Take the last answer back").click()
        one.waits_for(5)
        one.press("ArrowUp", "both-good")
        two.click("right")
        two.waits_for(6)
        two.page.keyboard.press("u")
        two.waits_for(5)
        two.press("2", "right")
        two.waits_for(6)

        two.page.get_by_role("button", name="Pause").click()
        expect(two.page.get_by_role("heading", name="Paused")).to_be_visible()
        two.page.get_by_role("button", name="Go on").click()
        two.waits_for(6)

        answers = ["left", "right", "both-good", "both-poor"]
        for position in range(6, total + 1):
            for rater in (one, two):
                rater.waits_for(position)
                rater.click(answers[(position + (rater is two)) % 4])
        one.ended()
        two.ended()

        clicked = {(rater.name, position, answer) for rater in (one, two) for position, answer in rater.clicked.items()}
        assert len(clicked) == 2 * total
        assert sorted(clicked) == sorted(stored(twelve))

        third = Rater(page_factory(), server.address)
        third.page.goto(server.address)
        third.page.get_by_role("button", name="I agree, begin").click()
        expect(third.page.locator("#status")).to_contain_text("all the people that it needs")

    for rater in (one, two):
        rater.seen.errors = [error for error in rater.seen.errors if not AWAY.search(error)]
        rater.seen.check()
    votes, record = collect(twelve.plan, list(twelve.votes.glob("*.sqlite")))
    assert len(votes) == 2 * total and record.left_out["undone"] == 2


@pytest.fixture
def folder_study(tmp_path: Path) -> Made:
    return make_study(tmp_path, each=3, repeats=1, checks=1, questions={"overall": "Which one?", "motion": "Moves?"})


def test_from_a_folder_answers_are_kept_and_handed_over_as_a_file(
    folder_study: Made, page_factory: Callable[..., Page], tmp_path: Path
) -> None:
    plan = folder_study.plan
    address = (folder_study.site / "index.html").as_uri()
    page = page_factory(viewport=WIDTHS["phone"], accept_downloads=True)
    rater = Rater(page, f"{address}#slot=2").begin()
    given: dict[tuple[int, str], str] = {}
    steps = [(place, question) for place in range(1, len(plan.slots[1]) + 1) for question in plan.questions]
    for number, step in enumerate(steps):
        rater.waits_for(step[0])
        expect(page.locator("#question")).to_contain_text(plan.questions[step[1]])
        answer = ["left", "right", "both-good", "both-poor"][number % 4]
        rater.button(answer).click()
        given[step] = answer
        if number == 2:
            page.reload()
        if number == 4:
            rater.waits_for(steps[5][0])
            page.get_by_role("button", name="Take the last answer back").click()
            expect(page.locator("#question")).to_contain_text(plan.questions[step[1]])
            rater.waits_for(step[0])
            rater.button("both-poor").click()
            given[step] = "both-poor"
    rater.ended()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save my answers as a file").click()
    saved = tmp_path / "votes" / download.value.suggested_filename
    download.value.save_as(saved)
    assert re.fullmatch(r"votes-2-[0-9a-f]{8}\.json", saved.name)
    votes, record = collect(plan, [saved])
    found = {(row["position"], row["question"]): row["answer"] for row in votes.to_dict("records")}
    assert found == given and record.left_out["undone"] == 1 and not record.malformed
    rater.seen.check()


def test_a_number_can_be_typed_and_keys_do_not_answer_meanwhile(
    folder_study: Made, page_factory: Callable[..., Page]
) -> None:
    page = page_factory()
    seen = watched(page)
    page.goto((folder_study.site / "index.html").as_uri())
    page.get_by_label("Your number").fill("99")
    page.get_by_role("button", name="I agree, begin").click()
    expect(page.locator("#status")).to_have_text("Your number is one from 1 to 4.")
    page.get_by_label("Your number").fill("")
    page.get_by_label("Your number").press_sequentially("1")
    page.get_by_role("button", name="I agree, begin").click()
    expect(page.locator("#pair-heading")).to_have_text(re.compile("^Pair 1 of"))
    seen.check()


def test_hostile_prompts_are_text(tmp_path: Path, page_factory: Callable[..., Page]) -> None:
    study = make_study(tmp_path, prompts=HOSTILE, each=8, repeats=0, checks=0)
    shown: set[str] = set()
    with serving(study) as server:
        rater = Rater(page_factory(viewport=WIDTHS["phone"]), server.address).begin()
        for position in range(1, 9):
            rater.waits_for(position)
            shown.add(rater.page.locator("#prompt").text_content())
            assert rater.page.evaluate("document.querySelectorAll('#prompt *').length") == 0
            width = rater.page.evaluate("document.documentElement.scrollWidth")
            assert width <= 400, "nothing is wider than the phone"
            rater.click("left")
        rater.ended()
    assert shown == set(HOSTILE) and rater.page.title() == "Which of the two?"
    rater.seen.check()


def test_both_videos_play_together_and_again(twelve: Made, page_factory: Callable[..., Page], tmp_path: Path) -> None:
    page = page_factory()
    rater = Rater(page, (twelve.site / "index.html").as_uri() + "#slot=1").begin()
    until(page, "[...document.querySelectorAll('video')].every(one => !one.paused && one.currentTime > 0.1)")
    apart = page.evaluate("Math.abs(document.querySelectorAll('video')[0].currentTime"
                          " - document.querySelectorAll('video')[1].currentTime)")  # fmt: skip
    assert apart < 0.15
    page.wait_for_timeout(1500)  # clips of half a second have ended by now, and play again
    until(page, "[...document.querySelectorAll('video')].some(one => !one.paused)")
    page.keyboard.press("r")
    until(page, "[...document.querySelectorAll('video')].every(one => !one.paused)")
    rater.seen.check()


def test_images_are_judged_likewise(tmp_path: Path, page_factory: Callable[..., Page]) -> None:
    study = make_study(tmp_path, medium="image")
    page = page_factory(viewport=WIDTHS["phone"])
    rater = Rater(page, (study.site / "index.html").as_uri() + "#slot=1").begin()
    assert page.evaluate("[...document.querySelectorAll('.frame img')].map(one => one.naturalWidth > 0)") == [True] * 2
    assert page.get_by_role("button", name="Play both again").is_hidden()
    rater.press("1", "left")
    rater.waits_for(2)
    rater.seen.check()


def test_who_wants_no_motion_starts_the_videos(twelve: Made, page_factory: Callable[..., Page]) -> None:
    page = page_factory(reduced_motion="reduce")
    rater = Rater(page, (twelve.site / "index.html").as_uri() + "#slot=2").begin()
    page.wait_for_timeout(700)
    assert page.evaluate("[...document.querySelectorAll('video')].every(one => one.paused && one.currentTime === 0)")
    page.get_by_role("button", name="Play both again").click()
    until(page, "[...document.querySelectorAll('video')].every(one => one.currentTime > 0)")
    rater.seen.check()


def test_a_video_that_is_missing_is_named_before_the_first_pair(
    tmp_path: Path, page_factory: Callable[..., Page]
) -> None:
    study = make_study(tmp_path)
    lost = study.plan.named[study.plan.slots[0][0].item].first.file
    (study.site / "videos" / lost).unlink()
    page = page_factory()
    page.goto((study.site / "index.html").as_uri() + "#slot=1")
    page.get_by_role("button", name="I agree, begin").click()
    expect(page.locator("#status")).to_contain_text(f"{lost} is missing", timeout=30_000)
    assert page.locator("#pair").is_hidden()


def test_keys_and_names_reach_who_does_not_see_the_page(twelve: Made, page_factory: Callable[..., Page]) -> None:
    page = page_factory()
    rater = Rater(page, (twelve.site / "index.html").as_uri() + "#slot=1").begin()
    focused = page.evaluate("document.activeElement.id")
    assert focused == "pair-heading", "what is new is read out"
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent.trim().split(' ').slice(0, 2).join(' ')"))
    assert {"Left \u2190", "Right \u2192", "Both good", "Both poor"} <= set(reached)
    for role, name in (("status", ""), ("progressbar", "Pair 1"), ("group", "Which of the two"), ("main", "")):
        assert page.get_by_role(role, name=re.compile(name)).count() >= 1, role
    page.keyboard.press("Control+ArrowLeft")
    page.wait_for_timeout(300)
    assert rater.position == 1, "a browser's own keys are no answers"
    rater.seen.check()


def test_a_link_with_a_token_shows_the_study_and_another_one_nothing(
    tmp_path: Path, page_factory: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(tmp_path)
    monkeypatch.setenv("STUDY_TOKEN", "a-token-of-thirty-characters-1")
    with serving(study, "--host", "0.0.0.0", "--token-from-env", "STUDY_TOKEN") as server:
        page = page_factory()
        assert page.goto(server.address).status == 403
        rater = Rater(page_factory(), f"{server.address}?token=a-token-of-thirty-characters-1").begin()
        rater.click("left")
        rater.waits_for(2)
        rater.seen.check()


def test_pages_of_one_rater_count_each_answer_once(tmp_path: Path, page_factory: Callable[..., Page]) -> None:
    study = make_study(tmp_path)
    with serving(study) as server:
        one = Rater(page_factory(), server.address).begin()
        other = Rater(one.page.context.new_page(), server.address)
        other.page.goto(server.address)
        other.waits_for(1)
        one.click("left")
        one.waits_for(2)
        other.click("right")
        other.waits_for(2)
    assert [row[1:] for row in stored(study)] == [(1, "left")]
