import json
import time
from pathlib import Path

import pytest

from promptavideo import timing
from promptavideo.errors import InputError
from promptavideo.timing import Timing


def test_items_and_seconds_add_up_and_survive_the_file(tmp_path: Path) -> None:
    record = Timing(circumstances={"packages": {"torch": "2"}})
    with record.measure(3):
        time.sleep(0.02)
    with record.measure(2):
        time.sleep(0.01)
    record.write(tmp_path / "x.timing.json")
    found = timing.read(tmp_path / "x.timing.json")
    assert found == record and found.items == 5
    assert 0.03 <= found.seconds < 1 and found.job_seconds > found.seconds and found.peak_memory_mb > 1 and found.device


def test_work_that_fails_does_not_count() -> None:
    record = Timing()
    with pytest.raises(ValueError, match="x"), record.measure(3):
        raise ValueError("x")
    assert record.items == 0


@pytest.mark.parametrize("content", ["", "[]", json.dumps({"items": "many"})])
def test_what_is_no_record_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.timing.json").write_text(content)
    with pytest.raises(InputError, match=r"x\.timing\.json: is no record of a job's time"):
        timing.read(tmp_path / "x.timing.json")
