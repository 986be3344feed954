import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from promptavideo.errors import InputError
from promptavideo.figures import _by_round, evolution_curve, held_out, stage_scores, training_curves
from promptavideo.resampling import BootstrapConfig
from promptavideo.sheets import SheetRow, contact_sheet, strips
from promptavideo.tables import PAPER_COLUMNS
from promptavideo.video import Clip

FAST = BootstrapConfig(resamples=99)
HOSTILE = "<script> $x^2$ $\\frac{a}{0}$ | 100% \\input{x} $ \u7ea2 \U0001f9d0 \x00"


@pytest.fixture(autouse=True)
def no_warnings_and_no_side_effects() -> Iterator[None]:
    before = dict(matplotlib.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert dict(matplotlib.rcParams) == before


def round_scores(totals: dict[tuple[str, int, int], float]) -> pd.DataFrame:
    rows = [{"prompt_id": p, "candidate": c, "replicate": r, "value": v} for (p, c, r), v in totals.items()]
    return pd.DataFrame(rows)


def value(scores: pd.DataFrame) -> pd.Series:
    return scores["value"]


ROUNDS = {
    0: round_scores({("a", 0, 0): 1.0, ("b", 0, 0): 2.0}),
    1: round_scores({("a", 1, 0): 0.5, ("a", 1, 1): 0.7, ("a", 2, 0): 0.9, ("b", 1, 0): 2.5, ("b", 2, 0): 1.5}),
    2: round_scores({("a", 1, 0): 3.0, ("a", 2, 0): 1.0}),
}


def make_table(refiners: list[str], name: str = "test") -> pd.DataFrame:
    table = pd.DataFrame({"refiner": refiners}).reindex(columns=list(PAPER_COLUMNS.all))
    averages = 2.5 + 0.1 * np.arange(len(refiners))
    gain = np.where(np.arange(len(refiners)) > 0, averages - 2.5, np.nan)
    return table.assign(
        generator="mini", set=name, avg=averages, avg_ci_low=averages - 0.1, avg_ci_high=averages + 0.1, gain=gain
    )


def make_logs() -> dict[str, pd.DataFrame]:
    step = np.arange(1, 12)
    dpo = pd.DataFrame({"step": step, "loss": 0.7 - 0.01 * step})
    dpo["rewards/margins"], dpo["rewards/accuracies"] = 0.02 * step, 0.5 + 0.03 * step
    dpo.loc[10, ["loss", "rewards/margins"]] = np.nan
    return {"sft": pd.DataFrame({"step": step, "loss": 3.0 / step}), "dpo-1": dpo, HOSTILE: dpo}


def clip(shade: int, frames: int = 8, size: tuple[int, int] = (32, 32)) -> Clip:
    ramp = np.arange(frames, dtype=np.uint8)[:, None, None, None]
    return Clip(np.full((frames, *size, 3), shade, np.uint8) + ramp, 8.0)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


DRAW: dict[str, Callable[[Path], None]] = {
    "evolution": lambda path: evolution_curve(ROUNDS, value, path, FAST),
    "stages": lambda path: stage_scores(make_table(["original", HOSTILE, "dpo-2"]), path),
    "training": lambda path: training_curves(make_logs(), path),
    "sheet": lambda path: contact_sheet(
        [SheetRow(HOSTILE * 9, [("original", "short", clip(9)), (HOSTILE, HOSTILE * 30, clip(99))])], path
    ),
    "strips": lambda path: strips(
        [SheetRow(HOSTILE * 9, [("original", "short", clip(9)), (HOSTILE, HOSTILE * 90, clip(99, 3, (480, 720)))])],
        path,
        path.with_suffix(".pdf"),
    ),
}


@pytest.mark.parametrize("name", list(DRAW))
def test_the_same_input_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    DRAW[name](tmp_path / "a.png")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "text.parse_math": True}):
        DRAW[name](tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert len(np.unique(pixels(tmp_path / "a.png"))) > 10
    assert b"Software" not in (tmp_path / "a.png").read_bytes()


@pytest.mark.parametrize("name", list(DRAW))
def test_nothing_runs_over_the_edge(name: str, tmp_path: Path) -> None:
    DRAW[name](tmp_path / "a.png")
    image = pixels(tmp_path / "a.png")
    for edge in (image[:3], image[-3:], image[:, :3], image[:, -3:]):
        assert (edge == 255).all()


def test_evolution_numbers() -> None:
    mean, best = _by_round(ROUNDS, value)
    np.testing.assert_allclose(mean.loc["a"], [1.0, (0.6 + 0.9) / 2, 2.0])
    np.testing.assert_allclose(mean.loc["b"], [2.0, 2.0, np.nan])
    np.testing.assert_allclose(best.loc["a"], [1.0, 1.0, 3.0])
    np.testing.assert_allclose(best.loc["b"], [2.0, 2.5, 2.5])


def test_row_order_does_not_change_the_evolution_figure(tmp_path: Path) -> None:
    shuffled = {number: ROUNDS[number].sample(frac=1, random_state=3) for number in (2, 0, 1)}
    evolution_curve(ROUNDS, value, tmp_path / "a.png", FAST)
    evolution_curve(shuffled, value, tmp_path / "b.png", FAST)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_stages_show_every_panel_and_paper_rows_without_intervals(tmp_path: Path) -> None:
    ours = make_table(["original", "dpo-2"])
    empty = dict.fromkeys(["avg_ci_low", "avg_ci_high", "gain"], np.nan)
    paper = make_table(["original", "gpt-4o"], "paper").assign(**empty)
    stage_scores(ours, tmp_path / "one.png")
    stage_scores(pd.concat([ours, paper, paper.assign(generator="other")]), tmp_path / "three.png")
    one, three = pixels(tmp_path / "one.png"), pixels(tmp_path / "three.png")
    assert three.shape[0] == 2 * one.shape[0] and three.shape[1] == 2 * one.shape[1]
    blue = (three == (0x00, 0x72, 0xB2)).all(axis=2)
    half = one.shape[1]
    assert blue[: one.shape[0], :half].sum() > 3 * blue[: one.shape[0], half:].sum() > 0


def test_sheet_shows_whole_enlarged_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
    contact_sheet([SheetRow("a", [("original", "a", Clip(frames, 8.0))])], tmp_path / "s.png", frames=3)
    image = pixels(tmp_path / "s.png")
    found = []
    for frame in frames:
        large = frame.repeat(4, axis=0).repeat(4, axis=1)
        corner = (image == large[0, 0]).all(axis=2)
        places = [(y, x) for y, x in np.argwhere(corner) if np.array_equal(image[y : y + 128, x : x + 128], large)]
        found.append(len(places))
    assert found == [1, 0, 0, 1, 0, 0, 1]  # first, middle, last


def test_sheet_takes_clips_of_any_size(tmp_path: Path) -> None:
    videos = [
        ("original", "a", clip(5, 1)),
        ("sft", "b", clip(50, 33, (480, 720))),
        ("dpo-2", "", clip(90, 2, (200, 9))),
    ]
    contact_sheet([SheetRow("a", videos), SheetRow("none", []), SheetRow("b", videos[:1])], tmp_path / "s.png")
    image = pixels(tmp_path / "s.png")
    assert image.shape[1] < 2700 and (image[:3] == 255).all() and (image[-3:] == 255).all()


def test_long_texts_stay_in_their_column(tmp_path: Path) -> None:
    long = "w" * 3000
    contact_sheet([SheetRow("p", [("original", long, clip(0)), ("sft", "b", clip(0))])], tmp_path / "s.png")
    image = pixels(tmp_path / "s.png")
    middle = image.shape[1] // 2
    assert (image[:, middle - 8 : middle + 8] == 255).all()


def test_strips_take_clips_of_any_size_and_are_as_wide_as_a_page(tmp_path: Path) -> None:
    videos = [
        ("original", "a", clip(5, 1)),
        ("sft", "w" * 3000, clip(50, 33, (480, 720))),
        ("b", "", clip(9, 2, (90, 9))),
    ]
    strips([SheetRow("a", videos), SheetRow("b", videos[:1])], tmp_path / "s.png", tmp_path / "s.pdf", 12)
    image = pixels(tmp_path / "s.png")
    assert image.shape[1] == 1400 and (image[:3] == 255).all() and (image[:, -3:] == 255).all()


def test_strips_show_the_first_and_the_last_frame(tmp_path: Path) -> None:
    frames = np.repeat(np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8), [1, 5, 1], axis=0)
    moving = Clip(np.broadcast_to(frames[:, None, None], (7, 32, 32, 3)).copy(), 8.0)
    strips([SheetRow("a", [("original", "a", moving)])], tmp_path / "s.png", tmp_path / "s.pdf", 2)
    image = pixels(tmp_path / "s.png")
    found = [(image == colour).all(axis=2).any() for colour in frames[[0, 3, 6]]]
    assert found == [True, False, True]


def test_a_log_without_steps_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    with pytest.raises(InputError, match=r"'sft' lacks the columns step"):
        training_curves({"sft": pd.DataFrame({"loss": [1.0]})}, path)
    assert not path.exists()


def make_held_out() -> pd.DataFrame:
    """A table with two metrics that only report, on two sets, and rows of the paper."""
    tables = [make_table(["original", HOSTILE, "dpo-1"], name) for name in ("test", HOSTILE, "paper")]
    table = pd.concat(tables, ignore_index=True)
    for place, name in enumerate(("AGREE", HOSTILE)):
        gain = table["gain"] * -0.1 * (place + 1)
        table[[f"{name}_gain", f"{name}_gain_ci_low", f"{name}_gain_ci_high"]] = np.stack(
            [gain, gain - 0.1, gain + 0.1], 1
        )
    return table.assign(words=[3.0, 7.0, 9.0] * 3, gain_ci_low=table["gain"] - 0.1, gain_ci_high=table["gain"] + 0.1)


def test_held_out_judges_are_drawn_beside_the_rewards_a_row_a_set(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one.png", "again.png", "both.png")]
    table = make_held_out()
    for path in paths[:2]:
        held_out(table[table["set"] == "test"], path)
    held_out(table, paths[2])
    assert paths[0].read_bytes() == paths[1].read_bytes()
    sizes = []
    for path in paths[1:]:
        with Image.open(path) as image:
            sizes.append(image.size)
    (width, height), (same, taller) = sizes
    assert width == same and taller == 2 * height, "two sets, and nothing of the paper's rows"
