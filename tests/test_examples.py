"""The examples of what others build on run as they stand."""

import doctest
from pathlib import Path

import pytest

from promptavideo.filming import film_shard
from promptavideo.generators.base import Generator
from promptavideo.operators.base import Operator
from promptavideo.refiners.base import Refiner
from promptavideo.store import Store


@pytest.mark.parametrize("entry", [Generator, Refiner, Operator, film_shard, Store], ids=lambda entry: entry.__name__)
def test_an_example_runs(entry: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (example,) = doctest.DocTestFinder(recurse=False).find(entry, globs={})
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0
