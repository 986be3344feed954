import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.hf_api import RepoFile
from makers import changed, message
from pydantic import TypeAdapter, ValidationError

from promptavideo.config import check
from promptavideo.errors import InputError
from promptavideo.files import sha256
from promptavideo.pairs import PairSource, origin_of, read_pairs
from promptavideo.prompts import prompt_id
from promptavideo.schemas import PAIRS, read_table
from promptavideo.study import Study

ROOT = Path(__file__).parents[1]
SOURCE: TypeAdapter[PairSource] = TypeAdapter(PairSource)
GOOD = [[f"a {one}", f"A {one}, in soft light."] for one in ("dog", "cat", "yak")]


def read(
    folder: Path, rows: Any, tests: dict[str, list[str]] | None = None, **settings: Any
) -> tuple[dict[str, str], dict[str, Any]]:
    """The pairs that are kept, and the record."""
    (folder / "pairs.json").write_bytes(rows if isinstance(rows, bytes) else json.dumps(rows).encode())
    entry = SOURCE.validate_python({"kind": "local", "path": "pairs.json", **settings})
    read_pairs("demo", entry, folder, folder / "out.parquet", folder / "out.json", tests or {})
    table = read_table(folder / "out.parquet", PAIRS)
    assert table["prompt_id"].tolist() == sorted(map(prompt_id, table["prompt"])) and table["total"].isna().all()
    return dict(zip(table["prompt"], table["refined"], strict=True)), json.loads((folder / "out.json").read_text())


def test_pairs_are_kept_by_prompt_and_the_record_says_where_they_come_from(tmp_path: Path) -> None:
    kept, record = read(tmp_path, GOOD)
    assert kept == {prompt: refined for prompt, refined in GOOD}
    assert (record["rows"], record["kept"], record["dropped"], record["tested_on"]) == (3, 3, {}, {})
    assert record["files"] == {"pairs.json": f"sha256:{sha256(tmp_path / 'pairs.json')}"}
    said = origin_of("demo", tmp_path / "out.json")
    assert said["name"] == "demo" and said["files"] == record["files"] and said["kept"] == 3
    assert read(tmp_path, GOOD[::-1])[0] == kept


def test_unusable_rows_are_left_out_counted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad: dict[str, list[Any]] = {
        "empty": [[], ["", " "], [None, None]],
        "one-sided": [["a hen"], ["a hen", ""], ["", "A hen."], ["a hen", None], ["a hen", "..."]],
        "repeated": [["A DOG.", "Another dog, at night."]],
        "unchanged": [["a fox", "A fox."]],
        "no pair of texts": ["a dog", {"a": "b"}, ["a", "b", "c"], ["a", 7], None],
        "too long": [["a hen", "word " * 400]],
        "refined into a refusal": [["a hen", "I'm sorry, I can't assist with that request."]],
        "refined into a placeholder": [["a hen", "[refined prompt]"]],
    }
    rows = [*GOOD, *(row for rows in bad.values() for row in rows)]
    with caplog.at_level("INFO"):
        kept, record = read(tmp_path, rows)
    assert kept == {prompt: refined for prompt, refined in GOOD}
    assert record["dropped"] == {kind: len(rows) for kind, rows in bad.items()}
    assert record["rows"] == len(rows) and record["dropped_examples"]["empty"] == [
        "pairs.json, row 4", "pairs.json, row 5", "pairs.json, row 6"
    ]  # fmt: skip
    assert "kept 3 of 21 pairs" in caplog.text and "repeated: pairs.json, row 12" in caplog.text


def test_texts_become_clean_lines(tmp_path: Path) -> None:
    rows = [["a\u200b dog\n", "A dog,\r\n  in\train.\x07"], ["half \ud83d pair", "A half \ud83d."]]
    kept, _ = read(tmp_path, json.dumps(rows).encode())
    assert kept == {"a dog": "A dog, in rain.", "half ? pair": "A half ?."}


def test_a_pair_of_a_prompt_that_is_tested_on_is_named_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        kept, record = read(tmp_path, GOOD, {"webvid-test": ["A  Dog.", "a fish"], "vbench": ["a yak"]})
    assert list(kept) == ["a cat"]
    assert record["tested_on"] == {"vbench": ["a yak"], "webvid-test": ["a dog"]}
    assert record["dropped"] == {"of a prompt that is tested on": 2}
    assert "left out, since webvid-test tests on them: a dog" in caplog.text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[[", r"pairs\.json: not valid JSON .*list of \[original, refined\]"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"a": "b"}', "holds no list"),
        (b"[]", r"none of 0 rows is a usable pair \(none\)"),
        (b'[["a dog", ""], 7]', r"none of 2 rows is a usable pair \(1 one-sided, 1 no pair of texts\)"),
    ],
)
def test_a_file_without_pairs_says_why(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(InputError, match=rf"^pair_sources\.demo.*{words}"):
        read(tmp_path, content)
    assert not (tmp_path / "out.parquet").exists()


def test_a_source_that_is_not_there_or_of_another_type_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pair_sources\.demo\.path: .*none\.json does not exist"):
        read(tmp_path, GOOD, path="none.json")
    (tmp_path / "pairs.csv").write_text("a,b\n")
    with pytest.raises(InputError, match=r"pairs\.csv is of no type that can be read \(\.json\)"):
        read(tmp_path, GOOD, path="pairs.csv")


def test_a_file_at_an_address_must_have_its_digest(tmp_path: Path) -> None:
    (tmp_path / "there.json").write_text(json.dumps(GOOD))
    url, digest = (tmp_path / "there.json").as_uri(), sha256(tmp_path / "there.json")

    def fetched(pinned: str) -> dict[str, Any]:
        entry = SOURCE.validate_python({"kind": "url", "url": url, "sha256": pinned})
        read_pairs("demo", entry, tmp_path, tmp_path / "out.parquet", tmp_path / "out.json", {})
        content: dict[str, Any] = json.loads((tmp_path / "out.json").read_text())
        return content

    assert fetched(digest)["files"] == {"there.json": f"sha256:{digest}"}
    assert fetched("unpinned")["files"] == {"there.json": f"sha256:{digest}"}
    with pytest.raises(InputError, match=rf"pair_sources\.demo\.sha256: .* {digest}, expected {'0' * 64}; check the"):
        fetched("0" * 64)


def test_the_hub_gives_pairs_at_a_revision_that_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hub.json").write_text(json.dumps(GOOD))
    listed = [
        RepoFile(path=name, size=1, oid="0", lfs={"size": 1, "oid": "ab", "pointerSize": 1})
        for name in ("CV.json", "OS.json")
    ]
    api = SimpleNamespace(
        dataset_info=lambda repo_id: SimpleNamespace(sha="c0ffee"), list_repo_tree=lambda *_, **given: listed
    )
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda token: api)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **given: str(tmp_path / "hub.json"))
    entry = {"kind": "hub", "repo_id": "lab/pairs", "revision": "unpinned", "files": ["CV.json"]}
    read_pairs("demo", SOURCE.validate_python(entry), tmp_path, tmp_path / "a.parquet", tmp_path / "a.json", {})
    said = origin_of("demo", tmp_path / "a.json")
    assert (said["revision"], said["files"]) == ("c0ffee", {"CV.json": "sha256:ab"})


@pytest.mark.parametrize(
    "entry",
    [
        {"kind": "hub", "repo_id": "a/b"},
        {"kind": "hub", "repo_id": "a/b", "revision": "main"},
        {"kind": "url", "url": "https://x/y.json"},
        {"kind": "local"},
        {"kind": "local", "path": "x", "column": "refined"},
    ],
)
def test_the_section_refuses_what_it_cannot_mean(entry: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SOURCE.validate_python(entry)


SOURCES = {"theirs": {"kind": "local", "path": "pairs.json"}}


def study(pairs: object, **more: Any) -> Study:
    raw = changed("boosters", {"sft": {"data": {"pairs": pairs}}, **more}) | {"pair_sources": SOURCES}
    return Study(check(raw, ROOT), ROOT)


def test_nothing_is_evolved_where_no_booster_learns_from_it() -> None:
    ours = study("theirs")
    names = [batch.name for batch in ours.batches("mini-t2v")]
    assert not any(name.startswith("evolution/") for name in names) and names[:2] == ["dpo-1", "dpo-2"]
    assert ours.figures("mini-t2v") == ["training", "contact_sheet"]
    sft, dpo = (ours.booster(name, "mini-t2v") for name in ("sft", "dpo-1"))
    assert ours.sources(sft) == ["resources/pairs/theirs.parquet"] and ours.released(sft) == ["theirs"]
    assert ours.released(dpo) == [] and "triples" in ours.sources(dpo)[0]


def test_a_booster_beside_it_that_learns_from_the_evolution_has_it_made() -> None:
    both = study("theirs", mine={"trainer": "sft"})
    assert both.evolves("mini-t2v") and both.batches("mini-t2v")[0].name == "evolution/round-0"
    assert both.figures("mini-t2v") == ["evolution", "training", "contact_sheet"]


def test_tracks_have_pairs_of_their_own_or_evolve() -> None:
    named = study({"mini-t2v": "theirs"})
    assert not named.evolves("mini-t2v")
    raw = changed("boosters", {"sft": {"data": {"pairs": {"mini-t2v": "theirs"}}}}) | {"pair_sources": SOURCES}
    raw["generators"]["second"] = {"like": "mini-t2v"}
    two = Study(check(raw, ROOT), ROOT)
    assert [two.evolves(track) for track in two.tracks] == [False, True]


def test_unknown_names_are_refused() -> None:
    sft = {"sft": {"data": {"pairs": "thiers"}}}
    said = message(changed("boosters", sft) | {"pair_sources": SOURCES})
    assert "boosters.sft.data.pairs: there is no 'thiers'; known are theirs" in said
    sft = {"sft": {"data": {"pairs": {"mini": "theirs"}}}}  # type: ignore[dict-item]
    said = message(changed("boosters", sft) | {"pair_sources": SOURCES})
    assert "boosters.sft.data.pairs: there is no 'mini'; known are mini-t2v" in said
