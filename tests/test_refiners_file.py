import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from pydantic import ValidationError

from promptavideo import schemas
from promptavideo.config import check
from promptavideo.errors import InputError
from promptavideo.prompts import PromptSet, load_prompt_set, prompt_id
from promptavideo.refiners.base import evaluation_table
from promptavideo.refiners.file import FileRefiner, FileRefinerConfig
from promptavideo.schemas import read_table, write_table
from promptavideo.shots import Refined, shots_of
from promptavideo.study import Study

ROOT = Path(__file__).parents[1]
PROMPTS = ["a red ball", "A $dollar {box}", "naïve 東京 <b>, with a comma"]
IDS = [prompt_id(prompt) for prompt in PROMPTS]
REFINED = ["A vivid red ball rolls.", "A box; $(rm -rf ~)", "“Tokyo”, at night\nin rain"]


def write(folder: Path, suffix: str, rows: dict[str, list[Any]], name: str = "pae") -> str:
    table = pd.DataFrame(rows)
    match suffix:
        case "csv":
            table.to_csv(folder / f"{name}.csv", index=False)
        case "jsonl":
            lines = (json.dumps(row) for row in table.to_dict("records"))
            (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))
        case _:
            table.to_parquet(folder / f"{name}.parquet")
    return f"{name}.{suffix}"


def refiner(folder: Path, file: str, **settings: Any) -> FileRefiner:
    return FileRefiner(FileRefinerConfig(kind="file", file=file, **settings), "pae", folder)


def texts_of(refined: Sequence[Refined]) -> list[str]:
    assert all(one.negative is None for one in refined)
    return [one.text for one in refined]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_column_of_negative_prompts_is_read_and_an_empty_one_leaves_the_generators_own(
    tmp_path: Path, suffix: str
) -> None:
    negatives = ["blurry,\nlow  quality", None, " "]
    file = write(tmp_path, suffix, {"prompt": PROMPTS, "refined": REFINED, "against": negatives})
    found = refiner(tmp_path, file, negative="against").refine(IDS, PROMPTS)
    assert [one.negative for one in found] == ["blurry, low quality", None, None]
    assert texts_of(refiner(tmp_path, file).refine(IDS, PROMPTS)) == [one.text for one in found]
    with pytest.raises(InputError, match=r"refiners\.pae\.negative: .*no column 'not'"):
        refiner(tmp_path, file, negative="not")
    prompt_set = pd.DataFrame({"prompt_id": IDS, "prompt": PROMPTS})
    table = evaluation_table(prompt_set, refiner(tmp_path, file, negative="against"), 2, run_seed=7)
    write_table(table, tmp_path / "prompts.parquet", schemas.PROMPTS)
    again = shots_of(read_table(tmp_path / "prompts.parquet", schemas.PROMPTS))
    assert [shot.negative for shot in again if shot.text == found[0].text] == ["blurry, low quality"] * 2
    assert [shot.negative for shot in again if shot.text != found[0].text] == [None] * 4


def test_rows_of_one_text_whose_negative_prompts_differ_are_several(tmp_path: Path) -> None:
    rows = {"prompt": PROMPTS[:1] * 2, "refined": REFINED[:1] * 2, "negative": ["blurry", "dark"]}
    file = write(tmp_path, "csv", rows)
    with pytest.raises(InputError, match="have several texts"):
        refiner(tmp_path, file, negative="negative").refine(IDS[:1], PROMPTS[:1])
    (first,) = refiner(tmp_path, file, negative="negative", repeated="first").refine(IDS[:1], PROMPTS[:1])
    assert first.negative == "blurry"


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(("key", "keys"), [("prompt_id", IDS), ("prompt", [" A red  BALL", *PROMPTS[1:]])])
def test_every_format_and_key_gives_each_prompt_its_text(
    tmp_path: Path, suffix: str, key: Any, keys: list[str]
) -> None:
    rows = {"n": [1, 2, 3, 4], key: [*keys, "p0"], "refined": [*REFINED, "nobody asked"]}
    texts = refiner(tmp_path, write(tmp_path, suffix, rows), key=key)
    expected = ["A vivid red ball rolls.", "A box; $(rm -rf ~)", "“Tokyo”, at night in rain"]
    assert texts_of(texts.refine(IDS, PROMPTS)) == expected
    assert texts_of(texts.refine(IDS[::-1], PROMPTS[::-1])) == expected[::-1]
    assert texts_of(texts.refine(IDS[1:2], PROMPTS[1:2])) == expected[1:2]


def test_a_file_of_byte_order_mark_and_another_column_is_read(tmp_path: Path) -> None:
    (tmp_path / "vpo.csv").write_bytes(b'\xef\xbb\xbfprompt,text\r\na red ball,"One, two"\r\n')
    assert texts_of(refiner(tmp_path, "vpo.csv", column="text").refine(IDS[:1], PROMPTS[:1])) == ["One, two"]


def test_all_prompts_without_one_text_are_named_in_one_message(tmp_path: Path) -> None:
    prompts = [f"prompt {place}" for place in range(60)]
    ids = [prompt_id(prompt) for prompt in prompts]
    rows = {
        "prompt": [*prompts[:20], prompts[3], prompts[5], prompts[5]],
        "refined": ["a text"] * 7 + ["", " \u200b "] + ["a text"] * 11 + ["b text"] * 3,
    }
    file = write(tmp_path, "csv", rows)
    with pytest.raises(InputError) as caught:
        refiner(tmp_path, file).refine(ids, prompts)
    message = str(caught.value)
    assert message.startswith(
        f"refiners.pae.file: {tmp_path / file}: 40 of 60 prompts have no row: {ids[20]} 'prompt 20'; "
    )
    assert "; and 20 more. 2 of 60 prompts have several texts (`repeated: first` takes the first of each): " in message
    assert f"{ids[3]} 'prompt 3' in rows 4 and 21; {ids[5]} 'prompt 5' in rows 6 and 22 and 23" in message
    assert f"2 of 60 prompts have no text: {ids[7]} 'prompt 7' in row 8; {ids[8]} 'prompt 8' in row 9" in message
    assert message.count("prompt 2") == 10 and "prompt 45" not in message  # the first twenty of a kind
    assert message.endswith("Mend the file and run again")


def benchmark(folder: Path, prompts: str, texts: str) -> str:
    """Two text files as benchmarks publish them: other line ends, one without an end of its last line."""
    (folder / "all.txt").write_bytes(f"{prompts}\n".encode())
    (folder / "longer.txt").write_bytes(b"\xef\xbb\xbf" + texts.replace("\n", "\r\n").encode())
    return "longer.txt"


def test_line_i_of_one_file_is_the_text_of_line_i_of_another(tmp_path: Path) -> None:
    prompts = "\n".join(["an owl", PROMPTS[1], "", f"{PROMPTS[0].upper()}.", PROMPTS[2]])
    texts = "\n".join(["nobody asked", "A box.", "", 'A ball, "red" \x85 and round', "Tokyo, at night"])
    file = benchmark(tmp_path, prompts, texts)
    assert texts_of(refiner(tmp_path, file, prompts="all.txt").refine(IDS, PROMPTS)) == [
        'A ball, "red" and round', "A box.", "Tokyo, at night",
    ]  # fmt: skip
    (tmp_path / "short.txt").write_text("one\ntwo\n")
    with pytest.raises(InputError, match=r"refiners\.pae\.prompts: short\.txt has 2 lines and longer\.txt 5, so they"):
        refiner(tmp_path, file, prompts="short.txt")
    with pytest.raises(InputError, match=r"refiners\.pae\.prompts: .*no\.txt does not exist"):
        refiner(tmp_path, file, prompts="no.txt")


def test_a_prompt_that_a_benchmark_repeats_has_one_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    prompts = ["a fantasy landscape", "the bund, oil painting", "A fantasy landscape", "the bund, oil painting"]
    asked = (list(map(prompt_id, prompts[:2])), prompts[:2])
    same = benchmark(tmp_path, "\n".join(prompts), "A valley.\nThe Bund.\nA valley.\nThe  Bund.")
    with caplog.at_level(logging.INFO):
        assert texts_of(refiner(tmp_path, same, prompts="all.txt").refine(*asked)) == ["A valley.", "The Bund."]
    assert "longer.txt: 2 prompts stand there more than once; the first text of each is used" in caplog.text
    differ = benchmark(tmp_path, "\n".join(prompts), "A valley.\nThe Bund.\nA castle.\nThe Bund.")
    with pytest.raises(
        InputError, match=r": 1 of 2 prompts have several .*: p\w+ 'a fantasy landscape' in lines 1 and 3\."
    ):
        refiner(tmp_path, differ, prompts="all.txt").refine(*asked)
    first = refiner(tmp_path, differ, prompts="all.txt", repeated="first")
    assert texts_of(first.refine(*asked)) == ["A valley.", "The Bund."]


def test_values_that_are_no_text_count_as_none(tmp_path: Path) -> None:
    (tmp_path / "pae.jsonl").write_text(
        f'{{"prompt_id": "{IDS[0]}", "refined": 7}}\n{{"prompt_id": "{IDS[1]}", "refined": null}}\n'
        f'{{"prompt_id": 5, "refined": "x"}}\n{{"prompt_id": "{IDS[2]}"}}\n'
    )
    with pytest.raises(InputError, match="3 of 3 prompts have no text"):
        refiner(tmp_path, "pae.jsonl", key="prompt_id").refine(IDS, PROMPTS)


def test_texts_are_cleaned_and_bounded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    long = "One two three. " * 3 + "four five"
    texts = ["a\x00b \x1b[31mred\u202e\nball", long, "x" * 100_000]
    file = write(tmp_path, "parquet", {"prompt": PROMPTS, "refined": texts})
    with caplog.at_level(logging.WARNING):
        refined = texts_of(refiner(tmp_path, file, max_words=8).refine(IDS, PROMPTS))
    assert refined == ["a b [31mred ball", "One two three. One two three.", "x" * 160]
    assert "2 texts are longer than 8 words and were cut" in caplog.text


def test_texts_of_scripts_without_spaces_are_counted_where_they_are_cut(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(tmp_path, "parquet", {"prompt": PROMPTS[:1], "refined": ["一只猫坐在窗边看雨"]})
    with caplog.at_level(logging.WARNING):
        (refined,) = texts_of(refiner(tmp_path, file, max_words=4).refine(IDS[:1], PROMPTS[:1]))
    assert refined != "一只猫坐在窗边看雨"
    assert "1 texts are longer than 4 words and were cut" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("no.csv", None, r"pae\.file: .*no\.csv does not exist"),
        ("a.csv", b"text,refined\nx,y\n", r"pae\.key: .*no column 'prompt' among text, refined"),
        ("a.csv", b"prompt,text\nx,y\n", r"pae\.column: .*no column 'refined' among prompt, text"),
        ("a.csv", b"prompt,refined\nx,one, two\n", "line 2: 3 fields where the header has 2; put quotes"),
        ("a.csv", b'prompt,refined\nx,"never\n', "line 2: not valid CSV"),
        ("a.csv", b"prompt,refined,by\nx,one\n", "line 2: 2 fields where the header has 3"),
        ("a.csv", b"prompt,refined\nx,caf\xe9\n", "not UTF-8"),
        ("a.jsonl", b'{"prompt": "x"\n', "line 1: not valid JSON"),
        ("a.jsonl", b'["x"]\n', "line 1: a JSON object is needed"),
        ("a.jsonl", b"[" * 100_000, "line 1: "),
        ("a.parquet", b"PAR1", "cannot be read as parquet"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        refiner(tmp_path, name)


def test_an_empty_file_has_no_row_of_any_prompt(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"")
    with pytest.raises(InputError, match="3 of 3 prompts have no row"):
        refiner(tmp_path, "a.csv").refine(IDS, PROMPTS)


def test_a_parquet_file_without_the_column_says_which_it_has(tmp_path: Path) -> None:
    file = write(tmp_path, "parquet", {"prompt": ["x"], "text": ["y"]})
    with pytest.raises(InputError, match="no column 'refined' among prompt, text"):
        refiner(tmp_path, file)


def test_the_section_refuses_what_it_cannot_mean() -> None:
    for entry in (
        {"file": "a.txt"},
        {"file": "a.csv", "prompts": "b.txt"},
        {"file": "a.txt", "prompts": "b.csv"},
        {"file": "a.txt", "prompts": "b.txt", "column": "text"},
        {"file": "a.txt", "prompts": "b.txt", "negative": "text"},
        {"file": "a.txt", "prompts": "b.txt", "key": "prompt_id"},
        {"file": "a.csv", "repeated": "last"},
        {"file": "a.pkl"},
        {"file": "a.csv", "key": "row"},
        {"file": "a.csv", "max_words": 0},
    ):
        with pytest.raises(ValidationError):
            FileRefinerConfig.model_validate({"kind": "file", **entry})


def test_the_entry_loads_as_a_refiner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, "csv", {"prompt": PROMPTS, "refined": REFINED})
    monkeypatch.chdir(tmp_path)
    study = Study(check(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")), ROOT))
    texts = FileRefinerConfig(kind="file", file=file).load("pae", "mini-t2v", study)
    assert texts_of(texts.refine(IDS[:1], PROMPTS[:1])) == REFINED[:1]


def test_gaps_are_found_before_anything_runs(tmp_path: Path) -> None:
    raw = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    prompts = load_prompt_set("heldout", PromptSet.model_validate(raw["prompt_sets"]["heldout"]), ROOT)[
        "prompt"
    ].tolist()
    file = write(tmp_path, "csv", {"prompt": prompts[1:], "refined": "a text"})
    raw["refiners"]["pae"] = {"kind": "file", "file": str(tmp_path / file)}
    check(raw, ROOT)  # declared, but not compared
    raw["evaluation"]["refiners"].append("pae")
    with pytest.raises(InputError, match=rf"refiners\.pae\.file: .*: 1 of {len(prompts)} prompts have no row"):
        check(raw, ROOT)
    write(tmp_path, "csv", {"prompt": prompts, "refined": "a text"})
    check(raw, ROOT)
