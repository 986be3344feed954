from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import Critic, Painter

from promptavideo.judges import Judges
from promptavideo.metrics import PAPER
from promptavideo.online import OnlineReward
from promptavideo.prompts import prompt_id
from promptavideo.seeds import video_seed
from promptavideo.totals import total


@pytest.fixture
def painter() -> Painter:
    return Painter()


@pytest.fixture
def reward(tmp_path: Path, painter: Painter, monkeypatch: pytest.MonkeyPatch) -> OnlineReward:
    """The reward of a run whose generator paints and whose judge looks at brightness."""
    monkeypatch.setattr("promptavideo.judges.load_judges", lambda entries, models: Judges({"critic": Critic}))
    entry = SimpleNamespace(models=[], load=lambda name, folders, work: painter)
    config = SimpleNamespace(
        generators={"easel": entry}, store=str(tmp_path), rewards={}, objectives=PAPER, seed=3,
        evolution=SimpleNamespace(weights={"DD": 0.5}),
    )  # fmt: skip
    study: Any = SimpleNamespace(config=config, layout=SimpleNamespace(models="models", model=str))
    return OnlineReward(study, "easel")


def test_a_reward_is_the_total_of_the_objective_with_the_prompts_own_seed(
    reward: OnlineReward, painter: Painter
) -> None:
    given = reward(["a ball", "a box"], ["a red ball", "a blue box"], step=[1, 1])
    seeds = [video_seed(3, prompt_id(prompt), 0) for prompt in ("a ball", "a box")]
    assert {(shot.text, shot.seed) for shot in painter.filmed} == {
        *zip(["a red ball", "a blue box"], seeds, strict=True)
    }
    again = reward(["a box", "a ball"], ["a blue box", "a red ball"])
    assert again == given[::-1] and len(painter.filmed) == 2, "the store holds what was filmed"


def test_its_weights_are_those_of_the_evolution(reward: OnlineReward) -> None:
    (given,) = reward(["a ball"], ["a red ball"])
    from promptavideo.online import judge
    from promptavideo.shots import Shot

    shot = Shot("a red ball", None, video_seed(3, prompt_id("a ball"), 0))
    table = judge(["a ball"], [shot], Painter(), {"critic": Critic()}, PAPER, reward._store)
    for metric in PAPER:
        table[metric.five] = table[metric.name] * metric.to_five
    assert given == pytest.approx(total(table, PAPER, {"DD": 0.5}).item())
    assert given < total(table, PAPER, {}).item()
