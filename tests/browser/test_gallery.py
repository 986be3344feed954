"""The gallery in a real browser, opened from the file system."""

import time
from pathlib import Path

import pytest
from browsing import watched
from gallery_makers import group
from playwright.sync_api import Page

from promptavideo.gallery import collect, page
from promptavideo.gallery.config import GalleryConfig

PROMPTS = [f"a {colour} ball" for colour in ("red", "blue", "green", "white", "black", "orange")]
HOSTILE = [
    "</script><script>document.title = 'broken'</script>",
    "<img src=x onerror=\"document.title='broken'\"> & 'quotes' \"\"",
    "\u202edrowssap \u2066isolate",
    "long " * 1000,
]


def gallery(folder: Path, prompts: list[str], clips: int | None = None, side: int = 32, refiners: int = 3) -> str:
    """The address of a gallery."""
    names = ["original", *(f"dpo-{number}" for number in range(1, refiners))]
    texts = {name: [f"{prompt}, {name} style" for prompt in prompts] for name in names} | {"original": prompts}
    made = group(folder, prompts, texts, clips=clips, side=side)
    content = collect.collect([made], folder / "gallery", GalleryConfig(least_pixels=64))
    page.write(folder / "gallery", content, ["a note"])
    return (folder / "gallery/index.html").as_uri()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return gallery(tmp_path_factory.mktemp("gallery"), PROMPTS)


@pytest.fixture
def opened(page_factory, address: str):
    tab = page_factory()
    watch = watched(tab)
    tab.goto(address)
    yield tab
    watch.check()


def gains(tab: Page) -> list[float]:
    """The difference of the last refiner's avg in each row, in the order of rows."""
    rows = tab.locator("article")
    found = []
    for number in range(rows.count()):
        rows.nth(number).scroll_into_view_if_needed()
        text = rows.nth(number).locator(".cell").last.locator(".avg span").text_content()
        found.append(float(text.replace("\u2212", "-")))
    return found


def test_rows_are_ordered_by_id_at_first_and_then_by_gain_and_loss(opened: Page) -> None:
    ids = opened.locator("article").evaluate_all("rows => rows.map((row) => row.dataset.row)")
    assert len(ids) == 6 and ids == sorted(ids)
    opened.select_option("#order", "gain")
    falling = gains(opened)
    assert falling == sorted(falling, reverse=True) and falling[0] > falling[-1]
    opened.select_option("#order", "loss")
    assert gains(opened) == falling[::-1]
    opened.select_option("#order", "disagreement")
    assert sorted(gains(opened)) == sorted(falling)
    assert "order=disagreement" in opened.url and "heldout=AGREE" in opened.url


def test_the_count_of_wins_and_losses_is_that_of_the_differences(opened: Page) -> None:
    found = gains(opened)
    cells = opened.locator("#tally tr").last.locator("td").all_inner_texts()
    assert cells[:4] == ["painter", "heldout", "dpo-2", "6"]
    assert [int(cell) for cell in cells[4:7]] == [sum(gain > 0 for gain in found), sum(gain < 0 for gain in found), 0]


def test_words_filter_and_a_link_leads_to_a_row(opened: Page, address: str) -> None:
    opened.fill("#words", "BLUE dpo-1")
    assert opened.locator("article").count() == 1
    assert opened.locator("#shown").inner_text() == "1 of 6 prompts."
    opened.fill("#words", "")
    target = opened.locator("article").nth(4)
    named = target.get_attribute("data-row")
    target.scroll_into_view_if_needed()
    target.get_by_role("link").click()
    assert opened.locator("article.current").get_attribute("data-row") == named
    opened.goto("about:blank")
    opened.goto(f"{address}#row={named}")
    assert opened.locator("article.current").get_attribute("data-row") == named
    assert opened.evaluate("document.activeElement.dataset.row") == named


def test_keys_go_from_row_to_row_replay_and_stop(opened: Page) -> None:
    opened.keyboard.press("n")
    opened.keyboard.press("n")
    assert opened.locator("article").nth(1).get_attribute("class") == "current"
    opened.keyboard.press("p")
    row = opened.locator("article").nth(0)
    assert row.get_attribute("class") == "current"
    wait_for_playing(opened, 0)
    opened.keyboard.press("s")
    assert row.locator("video").evaluate_all("videos => videos.every((video) => video.paused)")
    opened.keyboard.press("s")
    wait_for_playing(opened, 0)
    opened.keyboard.press("/")
    opened.keyboard.type("n")
    assert opened.input_value("#words") == "n" and opened.locator("article.current").count() == 0


def wait_for_playing(tab: Page, row: int) -> None:
    tab.wait_for_function(
        "row => [...document.querySelectorAll('article')[row].querySelectorAll('video')]"
        ".every((video) => video.readyState >= 2 && !video.paused)",
        arg=row,
    )


def test_the_videos_of_a_row_play_together_and_again(opened: Page) -> None:
    wait_for_playing(opened, 0)
    times = opened.locator("article").first.locator("video").evaluate_all("all => all.map((one) => one.currentTime)")
    assert len(times) == 3 and max(times) - min(times) < 0.15
    counted = """() => { window.rounds = 0;
      document.querySelector('article video').addEventListener('play', () => { window.rounds += 1; }); }"""
    opened.evaluate(counted)
    opened.wait_for_function("() => window.rounds >= 2", timeout=10_000)


def test_less_motion_plays_nothing_by_itself(page_factory, address: str) -> None:
    tab = page_factory(reduced_motion="reduce")
    tab.goto(address)
    tab.wait_for_function("() => document.querySelector('article video').readyState >= 2")
    time.sleep(0.5)
    assert tab.locator("video").evaluate_all("videos => videos.every((video) => video.paused)")
    tab.locator("article").first.get_by_role("button", name="play", exact=True).click()
    wait_for_playing(tab, 0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_window_scrolls_in_one_direction_only(page_factory, address: str, scheme: str) -> None:
    tab = page_factory(viewport={"width": 400, "height": 800}, color_scheme=scheme)
    tab.goto(address)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400
    white = tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert white == (scheme == "light")


def test_hostile_prompts_are_shown_as_text(page_factory, tmp_path: Path) -> None:
    tab = page_factory()
    watch = watched(tab)
    tab.goto(gallery(tmp_path, HOSTILE))
    tab.locator("article").last.scroll_into_view_if_needed()
    shown = " ".join(tab.locator("article h2").all_text_contents())
    for text in HOSTILE[:2]:
        assert text in shown
    assert "drowssap isolate" in shown, "characters that turn the direction round are gone"
    assert tab.title() == "Gallery: Prompt-A-Video, reproduced"
    assert tab.evaluate("document.documentElement.scrollWidth") <= tab.viewport_size["width"]
    watch.check()


def test_a_missing_video_is_named(page_factory, tmp_path: Path) -> None:
    address = gallery(tmp_path, PROMPTS[:2])
    gone = sorted((tmp_path / "gallery/videos").iterdir())[0]
    gone.unlink()
    tab = page_factory()
    tab.goto(address)
    tab.get_by_text(f"videos/{gone.name} is missing or cannot be played").wait_for()


def test_a_thousand_prompts_of_six_refiners_open_at_once(page_factory, tmp_path: Path) -> None:
    address = gallery(tmp_path, [f"a ball of number {number}" for number in range(1000)], clips=40, refiners=6)
    tab = page_factory()
    watch = watched(tab)
    tab.goto(address)
    wait_for_playing(tab, 0)
    painted = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert painted < 3000, f"{painted} ms until something is seen"
    assert tab.locator("article").count() == 1000
    loaded = "() => [...document.querySelectorAll('video')].filter((video) => video.hasAttribute('src')).length"
    assert 6 <= tab.evaluate(loaded) <= 60, "only what is near the window is loaded"
    tab.evaluate("scrollTo(0, document.body.scrollHeight)")
    tab.wait_for_function(
        "() => [...document.querySelectorAll('article:last-child video')].some((video) => !video.paused)"
    )
    tab.wait_for_function(f"() => ({loaded})() <= 60")
    tab.select_option("#order", "gain")
    tab.fill("#words", "number 77")
    assert tab.locator("article").count() == 19
    print(f"first paint with 1,000 x 6 videos: {painted:.0f} ms")
    watch.check()
