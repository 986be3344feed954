from pathlib import Path

from fakes import Critic, Painter

from promptavideo.metrics import PAPER
from promptavideo.online import judge
from promptavideo.shots import Shot
from promptavideo.store import Store


def test_shots_are_filmed_once_and_judged_in_the_order_given(tmp_path: Path) -> None:
    painter, store, names = Painter(), Store(tmp_path, "easel"), [metric.name for metric in PAPER]
    shots = [Shot("a red ball", None, 1), Shot("a blue box", None, 2)]
    found = judge(["a ball", "a box"], shots, painter, {"critic": Critic()}, PAPER, store)
    assert list(found) == names and found.notna().all(axis=None)
    assert set(painter.filmed) == set(shots)
    again = judge(["a box", "a ball"], shots[::-1], painter, {"critic": Critic()}, PAPER, store)
    assert again.equals(found[::-1].reset_index(drop=True)) and len(painter.filmed) == 2, "the store holds the videos"
