"""VBench's list of prompts out of a wheel that pip finds in a folder."""

import hashlib
import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from promptavideo.errors import InputError
from promptavideo.vbench.rows import Row, read_rows
from promptavideo.vbench.wheel import MEMBER, choose, read_list, write_rows

INDICES = Path(__file__).parent.parent / "resources" / "paper" / "vbench100_indices.tsv"
PROMPTS: list[dict[str, Any]] = [
    {"prompt_en": "a café", "dimension": ["scene"], "auxiliary_info": {"scene": {"scene": {"scene": "café"}}}},
    {"prompt_en": "a dog", "dimension": ["color", "object_class"]},
]

Publish = Callable[..., str]


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Puts a wheel of vbench 0.1.5 where pip, and nothing else, finds it; returns its digest."""
    index = tmp_path / "index"
    index.mkdir()
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(index), "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)

    def put(content: str | None) -> str:
        path = index / "vbench-0.1.5-py3-none-any.whl"
        members = {
            "METADATA": "Metadata-Version: 2.1\nName: vbench\nVersion: 0.1.5\nRequires-Dist: no-such-package\n",
            "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "RECORD": "",
        }
        with zipfile.ZipFile(path, "w") as wheel:
            for name, text in members.items():
                wheel.writestr(f"vbench-0.1.5.dist-info/{name}", text)
            if content is not None:
                wheel.writestr(MEMBER, content)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    return put


def test_the_list_is_read_with_every_row_numbered(publish: Publish) -> None:
    assert read_list("0.1.5", publish(json.dumps(PROMPTS))) == [{"row": 0, **PROMPTS[0]}, {"row": 1, **PROMPTS[1]}]


def test_a_wheel_with_another_digest_is_refused(publish: Publish) -> None:
    found = publish(json.dumps(PROMPTS))
    with pytest.raises(
        InputError, match=r"^vbench\.version, vbench\.sha256: pip cannot download .*vbench 0\.1\.5"
    ) as caught:
        read_list("0.1.5", "0" * 64)
    assert "0" * 64 in str(caught.value) and found in str(caught.value)


def test_a_version_that_is_not_there_is_named(publish: Publish) -> None:
    digest = publish(json.dumps(PROMPTS))
    with pytest.raises(
        InputError, match=r"(?s)pip cannot download the wheel of vbench 0\.1\.6 .*No matching distribution"
    ):
        read_list("0.1.6", digest)


@pytest.mark.parametrize("content", [None, "[{", "3", '["a dog"]'], ids=["no member", "no JSON", "no list", "no rows"])
def test_a_wheel_without_the_list_is_named(publish: Publish, content: str | None) -> None:
    with pytest.raises(
        InputError, match=r"vbench-0\.1\.5-py3-none-any\.whl holds no list of prompts at vbench/VBench_full"
    ):
        read_list("0.1.5", publish(content))


def test_a_missing_pip_is_told(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(InputError, match=r"pip cannot download .*No such file or directory.*/no/such/python"):
        read_list("0.1.5", publish(json.dumps(PROMPTS)))


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"row": row, "prompt_en": f"prompt {row}", "dimension": ["scene"]} for row in range(count)]


def test_the_chosen_rows_stand_in_the_lists_order(tmp_path: Path) -> None:
    (tmp_path / "indices.tsv").write_text("dimensions\tvbench_index\nscene\t4\nscene\t0\nscene\t2\n")
    assert choose(numbered(5), tmp_path / "indices.tsv") == [row for row in numbered(5) if row["row"] in (0, 2, 4)]


def test_the_papers_ablations_take_a_hundred_rows() -> None:
    chosen = choose(numbered(946), INDICES)
    assert len(chosen) == 100 and {row["row"] for row in chosen} >= {254, 218, 247}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "has no numbers in a column vbench_index"),
        (b"", "names no places"),
        (b"vbench_index\n", "names no places"),
        (b"index\n3\n", "has no numbers in a column vbench_index"),
        (b"vbench_index\nthree\n", "has no numbers in a column vbench_index"),
        (b"dimensions\tvbench_index\nscene\n", "has no numbers in a column vbench_index"),
        (b"vbench_index\n\xff\n", "has no numbers in a column vbench_index"),
        (b"vbench_index\n5\n1\n-1\n", r"names the places \[-1, 5\]; VBench's list has 0 to 4"),
    ],
)
def test_bad_indices_are_named(tmp_path: Path, content: bytes | None, told: str) -> None:
    if content is not None:
        (tmp_path / "indices.tsv").write_bytes(content)
    with pytest.raises(InputError, match=rf"vbench\.subset: .*indices\.tsv {told}"):
        choose(numbered(5), tmp_path / "indices.tsv")


def test_rows_are_written_one_a_line_with_all_their_fields(tmp_path: Path) -> None:
    rows = [{"row": place, **row} for place, row in enumerate(PROMPTS)]
    write_rows(rows, tmp_path / "new" / "vbench.jsonl")
    lines = (tmp_path / "new" / "vbench.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == rows
    assert [row.prompt_en for row in read_rows(tmp_path / "new" / "vbench.jsonl")] == ["a café", "a dog"]
    assert read_rows(tmp_path / "new" / "vbench.jsonl")[1] == Row(1, "a dog", ("color", "object_class"))
