import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from promptavideo import timing
from promptavideo.errors import InputError
from promptavideo.timing import Timing

ROOT = Path(__file__).parents[1]


def test_items_and_seconds_add_up_and_survive_the_file(tmp_path: Path) -> None:
    record = Timing(circumstances={"packages": {"torch": "2"}})
    with record.measure(3):
        time.sleep(0.02)
    with record.measure(2):
        time.sleep(0.01)
    record.write(tmp_path / "x.timing.json")
    found = timing.read(tmp_path / "x.timing.json")
    assert found == record and found.items == 5
    assert found.seconds >= 0.03 and found.job_seconds > found.seconds and found.peak_memory_mb > 1 and found.device


def test_the_jobs_time_begins_before_anything_that_takes_long(tmp_path: Path) -> None:
    """What scripts import after this package counts, and they import no others before it."""
    code = "import time, promptavideo; time.sleep(0.3); from promptavideo.timing import Timing; Timing().write(path)"
    code = f"from pathlib import Path; path = Path({str(tmp_path / 'x.json')!r}); {code}"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert timing.read(tmp_path / "x.json").job_seconds > 0.3
    for name in ("film", "score", "refine", "candidates"):
        imports = re.findall(r"^(?:from|import) (\w+)", (ROOT / f"scripts/{name}.py").read_text(), re.MULTILINE)
        assert next(name for name in imports if name not in sys.stdlib_module_names) == "promptavideo"


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
