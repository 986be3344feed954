"""The examples of what others build on run as they stand."""

import doctest
from pathlib import Path

import pytest

from promptavideo.boosters.trainers import TrainerEntry
from promptavideo.filming import film_shard
from promptavideo.generators.base import Generator
from promptavideo.judges.base import Judge, TextJudge
from promptavideo.online import judge
from promptavideo.operators.base import Operator
from promptavideo.refiners.base import Refiner
from promptavideo.scoring import score_shard
from promptavideo.store import Store

EXAMPLES = (Generator, Judge, TextJudge, Refiner, Operator, TrainerEntry, film_shard, score_shard, judge, Store)


@pytest.mark.parametrize("entry", EXAMPLES, ids=lambda entry: entry.__name__)
def test_an_example_runs(entry: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (example,) = doctest.DocTestFinder(recurse=False).find(entry, globs={})
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0
