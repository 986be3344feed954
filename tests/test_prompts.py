import hashlib
import json
import logging
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from pydantic import ValidationError

from promptavideo import schemas
from promptavideo.errors import InputError
from promptavideo.miniature import world
from promptavideo.prompts import (
    PromptSet,
    check_disjoint,
    check_styles,
    count_prompts,
    load_prompt_set,
    prompt_id,
)

REPOSITORY = Path(__file__).parents[1]
SHIPPED = REPOSITORY / "resources" / "prompts"
LEGAL = [
    "../../etc/passwd",
    "a cat; $(rm -rf ~) `id` && true",
    "<script>alert(1)</script>",
    "'single' and \"double\" quotes, with a comma",
    "a 🎉 party 👩‍👩‍👧 in 東京",
    "back\\slash \\n \\u0041",
    "{braces} %s {{ jinja }}",
    "éclair at night",
]


def write(folder: Path, name: str, content: str | bytes) -> PromptSet:
    data = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(data)
    return PromptSet(file=name)


def load(folder: Path, settings: PromptSet) -> list[str]:
    return list(load_prompt_set("demo", settings, folder)["prompt"])


def with_prompts(folder: Path, kind: str, prompts: list[str]) -> PromptSet:
    if kind == "txt":
        return write(folder, "p.txt", "".join(f"{prompt}\n" for prompt in prompts))
    if kind == "csv":
        pd.DataFrame({"n": range(len(prompts)), "prompt": prompts}).to_csv(folder / "p.csv", index=False)
        return PromptSet(file="p.csv")
    return write(folder, "p.jsonl", "".join(json.dumps({"prompt": prompt, "n": 1}) + "\n" for prompt in prompts))


@pytest.mark.parametrize("kind", ["txt", "csv", "jsonl"])
def test_legal_text_reaches_the_stored_table_unchanged(tmp_path: Path, kind: str) -> None:
    settings = with_prompts(tmp_path, kind, LEGAL)
    table = load_prompt_set("demo", settings, tmp_path)
    schemas.write_table(table, tmp_path / "out.parquet", schemas.PROMPT_SET)
    stored = schemas.read_table(tmp_path / "out.parquet", schemas.PROMPT_SET)
    assert list(stored["prompt"]) == LEGAL
    assert count_prompts(settings, tmp_path) == len(LEGAL)


def test_an_id_follows_from_the_normalised_text_alone(tmp_path: Path) -> None:
    expected = "p" + hashlib.sha256(b"a red ball").hexdigest()[:12]
    assert prompt_id("a red ball") == prompt_id("  A  Red\tBALL ") == expected
    assert prompt_id("e\u0301toile") == prompt_id("étoile")
    assert prompt_id("a red ball.") != expected
    forward = load_prompt_set("demo", write(tmp_path, "a.txt", "a red ball\na blue box\n"), tmp_path)
    backward = load_prompt_set("demo", write(tmp_path, "b.txt", "a blue box\na red ball\n"), tmp_path)
    assert dict(forward.values) == dict(backward.values)
    assert dict(forward.values)[expected] == "a red ball"


def test_txt_skips_mark_blank_lines_and_comments(tmp_path: Path) -> None:
    content = "\ufeff# a header\r\n\r\na red ball\r\n  \r\n  # indented\r\n a blue box # 2 \r\nlast".encode()
    assert load(tmp_path, write(tmp_path, "p.txt", content)) == ["a red ball", "a blue box # 2", "last"]


def test_csv_and_jsonl_take_marks_crlf_and_another_column(tmp_path: Path) -> None:
    csv = write(tmp_path, "p.csv", b'\xef\xbb\xbfid,text\r\n1,"one, two"\r\n\r\n2,# not a comment\r\n')
    jsonl = write(tmp_path, "p.jsonl", b'\xef\xbb\xbf{"text": "one, two"}\r\n\r\n{"text": "# not a comment"}')
    for settings in (csv, jsonl):
        assert load(tmp_path, settings.model_copy(update={"column": "text"})) == ["one, two", "# not a comment"]


BAD = [
    ("p.txt", b"", ["prompt_sets.demo.file", "holds no prompt"]),
    ("p.txt", b"# only a comment\n\n", ["holds no prompt"]),
    ("p.txt", b"good\nbad \xff byte\n", ["line 2", "0xff at offset 9", "UTF-8"]),
    ("p.txt", "good\n".encode("utf-16"), ["line 1", "UTF-8"]),
    ("p.txt", b"# top\na red ball\n\nA  Red Ball\n", ["lines 2 and 4", "'A  Red Ball'", "delete one"]),
    ("p.txt", b"ok\n" + b"word " * 5000, ["line 2", "5000 words", "prompt_sets.demo.max_words=200"]),
    ("p.txt", b"x" * 4001, ["line 1", "4001 characters", "20 x prompt_sets.demo.max_words=200"]),
    ("p.txt", b"a\x1b[31mred ball\n", ["line 1", "U+001B at character 2"]),
    ("p.txt", b"tab\there\n", ["U+0009 at character 4"]),
    ("p.txt", b"one\rtwo\n", ["line 1", "U+000D"]),
    ("p.txt", "one\u2028two\n".encode(), ["line 1", "U+2028"]),
    ("p.txt", "fine\n\u200b\u200b\n".encode(), ["line 2", "the prompt is empty"]),
    ("p.csv", b"", ["holds no prompt"]),
    ("p.csv", b"prompt\n", ["holds no prompt"]),
    ("p.csv", b"id,text\n1,x\n", ["prompt_sets.demo.column", "no column 'prompt' among id, text"]),
    ("p.csv", b"prompt,n\nx,1\na red, ball,2\n", ["line 3", "3 fields where the header has 2", "quotes"]),
    ("p.csv", b'prompt\nx\n"never closed\n', ["line 3", "not valid CSV"]),
    ("p.csv", b'prompt\nx\n"two\nlines"\n', ["line 3", "U+000A at character 4"]),
    ("p.csv", b'n,prompt\n1,x\n2,""\n', ["line 3", "the prompt is empty"]),
    ("p.csv", b"prompt\n" + b"x" * 200_000, ["line 2", "field larger than field limit"]),
    ("p.jsonl", b'{"prompt": "x"}\n{"prompt": "y"\n', ["line 2", "not valid JSON"]),
    ("p.jsonl", b"[" * 100_000, ["line 1", "not valid JSON"]),
    ("p.jsonl", b'["x"]\n', ["line 1", "JSON object is needed"]),
    ("p.jsonl", b'{"text": "x"}\n', ["prompt_sets.demo.column", "no column 'prompt' among text"]),
    ("p.jsonl", b'{"prompt": "x"}\n{"text": "x"}\n', ["line 2", "must be text, not null"]),
    ("p.jsonl", b'{"prompt": 7}\n', ["line 1", "must be text, not 7"]),
    ("p.jsonl", b'{"prompt": "a\\u0000b"}\n', ["line 1", "U+0000 at character 2"]),
    ("p.jsonl", b'{"prompt": "\\ud83d"}\n', ["line 1", "U+D83D"]),
]


@pytest.mark.parametrize(("name", "content", "parts"), BAD, ids=[f"{name}: {parts[-1]}" for name, _, parts in BAD])
def test_a_bad_file_gives_one_error_that_names_the_place(
    tmp_path: Path, name: str, content: bytes, parts: list[str]
) -> None:
    settings = write(tmp_path, name, content)
    with pytest.raises(InputError) as caught:
        load_prompt_set("demo", settings, tmp_path)
    message = str(caught.value)
    for part in [*parts, str(tmp_path / name)]:
        assert part in message
    assert len(message) < 500 + len(str(tmp_path))
    with pytest.raises(InputError):
        count_prompts(settings, tmp_path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"prompt_sets\.demo\.file: .*no\.txt does not exist"):
        load_prompt_set("demo", PromptSet(file="no.txt"), tmp_path)
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(InputError, match=r"folder\.txt cannot be read \(Is a directory\)"):
        load_prompt_set("demo", PromptSet(file="folder.txt"), tmp_path)


def test_slices_are_taken_and_bounded(tmp_path: Path) -> None:
    write(tmp_path, "p.txt", "a\nb\nc\nd\n")
    assert load(tmp_path, PromptSet(file="p.txt", first=1, count=2)) == ["b", "c"]
    assert load(tmp_path, PromptSet(file="p.txt", first=2)) == ["c", "d"]
    assert count_prompts(PromptSet(file="p.txt", first=1, count=2), tmp_path) == 2
    for outside in ({"first": 4}, {"count": 5}, {"first": 3, "count": 2}):
        with pytest.raises(InputError, match=r"prompt_sets\.demo: .* reach outside .*p\.txt, which has 4 prompts"):
            load_prompt_set("demo", PromptSet(file="p.txt", **outside), tmp_path)


def test_prompts_with_three_digits_are_dropped_before_the_slice(tmp_path: Path) -> None:
    write(tmp_path, "p.txt", "route 66\n1920s jazz\n1 2 3\nthree balls\n")
    assert load(tmp_path, PromptSet(file="p.txt", drop_digits=True, count=2)) == ["route 66", "three balls"]
    with pytest.raises(InputError, match="which has 2 prompts left after drop_digits"):
        load_prompt_set("demo", PromptSet(file="p.txt", drop_digits=True, count=3), tmp_path)


def test_shuffling_does_not_depend_on_the_order_of_the_file(tmp_path: Path) -> None:
    prompts = [f"prompt {index}" for index in range(50)]
    write(tmp_path, "a.txt", "\n".join(prompts))
    write(tmp_path, "b.txt", "\n".join(reversed(prompts)))
    shuffled = load(tmp_path, PromptSet(file="a.txt", shuffle=True))
    assert shuffled == load(tmp_path, PromptSet(file="b.txt", shuffle=True))
    assert sorted(shuffled) == sorted(prompts)
    assert shuffled != prompts
    assert load(tmp_path, PromptSet(file="a.txt", shuffle=True, count=7)) == shuffled[:7]


@pytest.mark.parametrize(
    "entry", [{"file": "p.xlsx"}, {"file": "p.txt", "first": -1}, {"file": "p.txt", "count": 0}, {"fil": "p.txt"}]
)
def test_the_section_refuses_what_it_cannot_mean(entry: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PromptSet.model_validate(entry)


def test_sets_that_share_a_prompt_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "train.txt", "a red ball\na blue box\na cone")
    write(tmp_path, "test.txt", "a dog\nA  Blue Box\na cone")
    sets = {name: load_prompt_set(name, PromptSet(file=f"{name}.txt"), tmp_path) for name in ("train", "test")}
    with pytest.raises(InputError, match=r"prompt_sets\.train and prompt_sets\.test .* 2 stand in both, first 'a blue"):
        check_disjoint(sets, [("train", "test")])
    sets["test"] = sets["test"].head(1)
    check_disjoint(sets, [("train", "test")])


@pytest.mark.parametrize("twin", ["A cat\ufeff runs", "a\u200b cat runs", "a cat runs.", "a  cat RUNS"])
def test_prompts_that_look_the_same_are_the_same(tmp_path: Path, twin: str) -> None:
    with pytest.raises(InputError, match="lines 1 and 2 hold the same prompt"):
        load(tmp_path, write(tmp_path, "p.txt", f"a cat runs\n{twin}\n"))
    sets = {
        name: load_prompt_set(name, write(tmp_path, f"{name}.txt", f"{text}\n"), tmp_path)
        for name, text in (("train", "a cat runs"), ("test", twin))
    }
    assert list(sets["test"]["prompt"]) == [twin]
    with pytest.raises(InputError, match="must not share prompts, but 1 stand in both"):
        check_disjoint(sets, [("train", "test")])


@pytest.mark.parametrize("kind", ["txt", "csv", "jsonl"])
def test_a_list_that_repeats_its_own_prompts_is_used_once_each(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    prompts = ["a fantasy landscape", "a cat", "A fantasy landscape.", "a dog", "a cat"]
    file = with_prompts(tmp_path, kind, prompts).file
    with pytest.raises(InputError, match=r"hold the same prompt .*; delete one of them, or .*`repeated: first`"):
        load(tmp_path, PromptSet(file=file))
    with caplog.at_level(logging.INFO):
        assert load(tmp_path, PromptSet(file=file, repeated="first")) == ["a fantasy landscape", "a cat", "a dog"]
    assert "prompt_sets.demo: left out 2 lines that repeat an earlier prompt: " in caplog.text
    assert count_prompts(PromptSet(file=file, repeated="first"), tmp_path) == 3
    assert load(tmp_path, PromptSet(file=file, repeated="first", first=2, count=1)) == ["a dog"]


def test_a_prompt_keeps_its_id_whatever_is_compared() -> None:
    assert prompt_id("a cat runs.") != prompt_id("a cat runs")


def content_of(prompt: str) -> tuple[str, ...]:
    """Read colour, shape, motion and background back out of a prompt."""
    banks = [
        {colour: (colour,) for colour in world.COLOURS},
        world.SHAPE_WORDS,
        world.MOTION_WORDS,
        world.BACKGROUND_WORDS,
    ]
    found = []
    for bank in banks:
        names = [
            name
            for name, phrases in bank.items()
            if any(re.search(rf"\b{re.escape(phrase)}\b", prompt.lower()) for phrase in phrases)
        ]
        assert len(names) == 1, (prompt, names)
        found.append(names[0])
    return tuple(found)


def test_the_miniature_sets_part_the_whole_world() -> None:
    sets = {
        name: load_prompt_set(name, PromptSet(file=f"miniature-{name}.txt"), SHIPPED) for name in ("train", "heldout")
    }
    check_disjoint(sets, [("train", "heldout")])
    contents = {name: [content_of(prompt) for prompt in table["prompt"]] for name, table in sets.items()}
    assert {name: len(set(found)) for name, found in contents.items()} == {"train": 140, "heldout": 100}
    assert len({*contents["train"], *contents["heldout"]}) == 240
    colours = Counter(content[0] for content in contents["heldout"])
    backgrounds = Counter(content[3] for content in contents["heldout"])
    assert set(colours.values()) == {20}
    assert set(backgrounds.values()) == {25}


def test_the_miniature_prompts_are_short_and_silent_about_quality() -> None:
    prompts = [
        prompt
        for name in ("train", "heldout")
        for prompt in load_prompt_set(name, PromptSet(file=f"miniature-{name}.txt"), SHIPPED)["prompt"]
    ]
    quality = [phrase for ends in world.QUALITY_WORDS.values() for end in ends for phrase in end]
    for prompt in prompts:
        assert not any(phrase in prompt.lower() for phrase in quality), prompt
        assert 4 <= len(prompt.split()) <= 18
        assert not prompt.endswith(".")
    lower = sum(prompt == prompt.lower() for prompt in prompts)
    assert 0.7 * len(prompts) < lower < len(prompts)


def test_the_command_makes_the_shipped_files_byte_for_byte(tmp_path: Path) -> None:
    script = REPOSITORY / "scripts" / "make_miniature_prompts.py"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": "7"}
    command = [sys.executable, str(script), "--folder", str(tmp_path)]
    subprocess.run(command, check=True, cwd=tmp_path, env=environment)
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == ["miniature-heldout.txt", "miniature-styles.csv", "miniature-train.txt"]
    for name in made:
        assert (tmp_path / name).read_bytes() == (SHIPPED / name).read_bytes()
        assert (tmp_path / name).read_bytes().startswith(b"#" if name.endswith(".txt") else b"prompt,style\n")


def test_the_miniature_styles_are_the_backgrounds_of_the_held_out_prompts() -> None:
    styled = load_prompt_set("styles", PromptSet(file="miniature-styles.csv", style_column="style"), SHIPPED)
    heldout = load_prompt_set("heldout", PromptSet(file="miniature-heldout.txt"), SHIPPED)
    assert sorted(styled["prompt_id"]) == sorted(heldout["prompt_id"])
    assert styled["style"].tolist() == [style for style in world.BACKGROUNDS for _ in range(25)]
    assert [content_of(prompt)[3] for prompt in styled["prompt"]] == styled["style"].tolist()


# --- styles ---

STYLED = [("a red ball", "photo"), ("a blue box", "photo"), ("a cone", "oil painting"), ("a dog", "photo")]


def with_styles(folder: Path, kind: str, rows: list[tuple[str, object]], **settings: object) -> PromptSet:
    table = [{"prompt": prompt, "kind": style} for prompt, style in rows]
    if kind == "csv":
        pd.DataFrame(table).to_csv(folder / "s.csv", index=False)
    else:
        (folder / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))
    return PromptSet.model_validate({"file": f"s.{kind}", "style_column": "kind", **settings})


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_styles_stand_beside_the_prompts_in_the_order_of_the_file(tmp_path: Path, kind: str) -> None:
    table = load_prompt_set("demo", with_styles(tmp_path, kind, STYLED), tmp_path)
    assert list(zip(table["prompt"], table["style"], strict=True)) == STYLED
    schemas.write_table(table, tmp_path / "out.parquet", schemas.PROMPT_SET)
    pd.testing.assert_frame_equal(schemas.read_table(tmp_path / "out.parquet", schemas.PROMPT_SET), table)
    sliced = load_prompt_set("demo", with_styles(tmp_path, kind, STYLED, first=1, count=2), tmp_path)
    assert sliced["style"].tolist() == ["photo", "oil painting"]


def test_a_set_without_styles_has_the_columns_that_it_had(tmp_path: Path) -> None:
    settings = write(tmp_path, "p.txt", "a red ball\n")
    assert list(load_prompt_set("demo", settings, tmp_path).columns) == ["prompt_id", "prompt"]
    assert "style_column" not in settings.decides()


@pytest.mark.parametrize(
    ("kind", "style", "told"),
    [("csv", "", '""'), ("csv", " ", '" "'), ("jsonl", "", '""'), ("jsonl", None, "null"), ("jsonl", 7, "7")],
)
def test_a_prompt_without_a_style_is_named(tmp_path: Path, kind: str, style: object, told: str) -> None:
    settings = with_styles(tmp_path, kind, [*STYLED, ("a cat", style)])
    place = rf"s\.{kind}, line {6 if kind == 'csv' else 5}: 'kind'"
    with pytest.raises(InputError, match=rf"prompt_sets\.demo\.style_column: .*{place} must .* not {told};"):
        load_prompt_set("demo", settings, tmp_path)


def test_a_style_that_cannot_be_a_column_and_a_missing_column_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 2: 'kind' is no name of a style"):
        load_prompt_set("demo", with_styles(tmp_path, "csv", [("a cat", "an essay on it " * 9)]), tmp_path)
    (tmp_path / "p.csv").write_text("prompt\na cat\n")
    with pytest.raises(InputError, match=r"prompt_sets\.demo\.style_column: .*no column 'kind' among prompt"):
        load_prompt_set("demo", PromptSet(file="p.csv", style_column="kind"), tmp_path)
    (tmp_path / "p.jsonl").write_text('{"prompt": "a cat", "kind": "photo"}\n{"prompt": "a dog"}\n')
    with pytest.raises(InputError, match=r"p\.jsonl, line 2: 'kind' must name the prompt's style, not null"):
        load_prompt_set("demo", PromptSet(file="p.jsonl", style_column="kind"), tmp_path)
    with pytest.raises(ValidationError, match="text files do not have"):
        PromptSet(file="p.txt", style_column="kind")
    with pytest.raises(ValidationError, match="`style_column` belongs to the source"):
        PromptSet(source="captions", count=3, style_column="kind")


def test_a_prompt_of_two_styles_counts_where_it_first_stands(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [*STYLED, ("A dog.", "oil painting"), ("a cone", "oil painting")]
    with pytest.raises(InputError, match="hold the same prompt"):
        load_prompt_set("demo", with_styles(tmp_path, "csv", rows), tmp_path)
    with caplog.at_level(logging.INFO):
        table = load_prompt_set("demo", with_styles(tmp_path, "csv", rows, repeated="first"), tmp_path)
    assert list(zip(table["prompt"], table["style"], strict=True)) == STYLED
    assert "left out 2 lines that repeat an earlier prompt (1 of them in another style): 6, 7" in caplog.text


def test_an_evaluation_names_all_styles_and_no_other(tmp_path: Path) -> None:
    table = load_prompt_set("demo", with_styles(tmp_path, "csv", STYLED), tmp_path)
    check_styles("test", ["oil painting", "photo"], "demo", table)
    with pytest.raises(InputError, match=r"sets\.test\.styles: .*\.demo have another style, 'oil painting'"):
        check_styles("test", ["photo"], "demo", table)
    with pytest.raises(InputError, match=r"prompt_sets\.demo has no prompt of style 'anime', 'video' and prompts of"):
        check_styles("test", ["photo", "anime", "video"], "demo", table)
    with pytest.raises(InputError, match="has no prompt of style 'photo'; mend"):
        check_styles("test", ["photo"], "demo", table.drop(columns="style"))
