import os
from pathlib import Path

import pytest

from promptavideo import probe
from promptavideo.errors import InputError
from promptavideo.probe import Asked, Probe, Reference, Speed, Work

ROOT = Path(__file__).parents[1]
ASKED = Asked({"mini": Work("float32", 1), "other": Work("float32", 1)}, Work("float32", 1))


def test_a_machine_is_measured_in_a_process_of_its_own() -> None:
    threads = os.environ.get("OMP_NUM_THREADS")
    found = probe.run(ASKED, ROOT)
    assert found.filming["mini"] == found.filming["other"], "the same work is measured once"
    assert all(0 < seconds < 10 for seconds in (found.filming["mini"], found.training, found.plain))
    assert found.dtypes == {"mini": "float32", "other": "float32", "training": "float32"}
    assert os.environ.get("OMP_NUM_THREADS") == threads


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("raise RuntimeError('no torch here')", "the probe of this machine failed: RuntimeError: no torch here"),
        ("import time; time.sleep(60)", "the probe of this machine failed: .*timed out"),
        ("print('hello')", "the probe of this machine printed something else: 'hello"),
    ],
)
def test_a_probe_that_fails_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/probe.py").write_text(script)
    monkeypatch.setattr(probe, "PATIENCE", 3)
    with pytest.raises(InputError, match=message):
        probe.run(ASKED, tmp_path)


def test_a_speed_is_a_probe_over_the_reference() -> None:
    measured = Probe({"mini": 0.4, "other": 0.02}, 0.3, 0.1, {})
    speed = Speed.of(measured, Reference(filming=0.02, training=0.1, plain=0.2))
    assert speed.filming == pytest.approx({"mini": 20, "other": 1})
    assert (speed.training, speed.plain) == (pytest.approx(3), 0.5)


def test_long_work_is_done_once_and_short_work_until_the_budget_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    now, done = 0.0, 0

    def work(seconds: float) -> float:
        def one() -> None:
            nonlocal now, done
            now, done = now + seconds * (2 if done == 0 else 1), done + 1

        return probe._fastest(one)

    monkeypatch.setattr("promptavideo.probe.time.perf_counter", lambda: now)
    assert work(5.0) == 10 and done == 1
    done = 0
    assert work(0.1) == pytest.approx(0.1) and 5 <= done <= 8
