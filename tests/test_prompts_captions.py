import io
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import errors
from huggingface_hub.hf_api import RepoFile
from pydantic import TypeAdapter, ValidationError

from promptavideo import captions
from promptavideo.captions import HubSource, LocalSource, PromptSource, UrlSource, read_source
from promptavideo.config import Config, check
from promptavideo.errors import InputError
from promptavideo.files import sha256
from promptavideo.prompts import PromptSet, check_slices, count_prompts, load_prompt_set, prompt_id
from promptavideo.schemas import PROMPT_SET, read_table, write_table
from promptavideo.steps.inputs import read_prompt_set
from promptavideo.study import Study

ROOT = Path(__file__).parents[1]
JSON: dict[str, Any] = {"files": ["*.json"]}
CAPTIONS = [f"A {animal} {verb}" for animal in ("dog", "cat", "heron", "yak") for verb in ("runs", "sleeps", "eats")]


def local(path: Path, **settings: Any) -> LocalSource:
    return LocalSource.model_validate({"kind": "local", "path": str(path), **settings})


def read(folder: Path, settings: PromptSource, name: str = "demo") -> tuple[list[str], dict[str, Any]]:
    table, origin = folder / f"out/{name}.parquet", folder / f"out/{name}.json"
    read_source(name, settings, folder, table, origin)
    return read_table(table, PROMPT_SET)["prompt"].tolist(), json.loads(origin.read_text())


def write(path: Path, captions: list[str]) -> None:
    """Captions in the format of the file's suffix, in a column beside others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame({"videoid": range(len(captions)), "caption": captions, "url": "http://x"})
    match path.suffix:
        case ".parquet":
            table.to_parquet(path)
        case ".csv":
            table.to_csv(path, index=False)
        case ".jsonl":
            table.to_json(path, orient="records", lines=True)
        case ".txt":
            path.write_text("".join(f"{caption}\n" for caption in captions))


class TestReading:
    @pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".txt"])
    def test_every_format_gives_the_same_prompts_in_the_same_order(self, tmp_path: Path, suffix: str) -> None:
        write(tmp_path / f"in/a{suffix}", CAPTIONS[:5])
        write(tmp_path / f"in/deep/b{suffix}", CAPTIONS[5:])
        prompts, origin = read(tmp_path, local(tmp_path / "in", files=[f"*{suffix}"]))
        write(tmp_path / "other/all.parquet", CAPTIONS[::-1])
        assert prompts == read(tmp_path, local(tmp_path / "other/all.parquet"))[0]
        assert sorted(prompts) == sorted(CAPTIONS) and prompts != CAPTIONS
        assert (origin["rows"], origin["usable"], origin["kept"], origin["dropped"]) == (12, 12, 12, {})
        assert list(origin["files"]) == [f"a{suffix}", f"deep/b{suffix}"]
        assert all(digest.startswith("sha256:") for digest in origin["files"].values())

    def test_the_seed_decides_the_order_and_keep_takes_its_front(self, tmp_path: Path) -> None:
        write(tmp_path / "in.csv", CAPTIONS)
        whole = read(tmp_path, local(tmp_path / "in.csv"))[0]
        kept, origin = read(tmp_path, local(tmp_path / "in.csv", keep=5))
        assert kept == whole[:5]
        assert (origin["usable"], origin["kept"], origin["source"]["keep"]) == (12, 5, 5)
        other = read(tmp_path, local(tmp_path / "in.csv", seed=1))[0]
        assert other != whole and sorted(other) == sorted(whole)

    def test_captions_that_look_the_same_are_one_prompt(self, tmp_path: Path) -> None:
        write(tmp_path / "in.parquet", [*CAPTIONS, f"{CAPTIONS[0]}.", f"\u200b{CAPTIONS[1]}", CAPTIONS[2].upper()])
        prompts, origin = read(tmp_path, local(tmp_path / "in.parquet"))
        assert (len(prompts), origin["dropped"]) == (len(CAPTIONS), {"duplicate": 3})

    def test_unusable_rows_are_dropped_counted_and_named(self, tmp_path: Path) -> None:
        bad = ["", "  ", "a\x07bell", "word " * 300, "year 1984", "A Dog  runs", "x" * 5000]
        write(tmp_path / "in.parquet", [*CAPTIONS[:2], *bad])
        prompts, origin = read(tmp_path, local(tmp_path / "in.parquet"))
        assert sorted(prompts) == ["A Dog  runs", "A dog sleeps"]  # of one prompt's spellings the first by alphabet
        assert origin["dropped"] == {
            "control character": 1,
            "duplicate": 1,
            "empty": 2,
            "three or more digits": 1,
            "too long": 2,
        }
        assert origin["dropped_examples"]["control character"] == ["in.parquet, row 5"]
        assert origin["dropped_examples"]["empty"] == ["in.parquet, row 3", "in.parquet, row 4"]
        assert (origin["rows"], origin["usable"]) == (9, 2)
        with_digits = local(tmp_path / "in.parquet", drop_digits=False)
        assert "year 1984" in read(tmp_path, with_digits)[0]

    def test_at_most_a_few_rows_of_a_kind_are_named(self, tmp_path: Path) -> None:
        write(tmp_path / "in.csv", [*CAPTIONS, *["1234"] * 50])
        _, origin = read(tmp_path, local(tmp_path / "in.csv"))
        assert origin["dropped"] == {"three or more digits": 50}
        assert origin["dropped_examples"] == {"three or more digits": [f"in.csv, row {row}" for row in range(13, 18)]}

    def test_text_that_is_not_utf_8_costs_its_row_only(self, tmp_path: Path) -> None:
        latin = "caf\xe9".encode("latin-1")
        (tmp_path / "in.csv").write_bytes(b"\xef\xbb\xbfid,caption\r\n1,a dog\r\n2," + latin + b"\r\n3,a cat\r\n")
        (tmp_path / "in.jsonl").write_bytes(
            b'{"caption": "a dog"}\n{"caption": "' + latin + b'"}\n{"caption": "a cat"}'
        )
        (tmp_path / "in.txt").write_bytes(b"a dog\n" + latin + b"\na cat\n")
        column = pa.array([b"a dog", latin, b"a cat"], pa.binary())
        text = pa.Array.from_buffers(pa.string(), 3, column.buffers())
        pq.write_table(pa.table({"caption": text}), tmp_path / "in.parquet")
        for suffix in ("csv", "jsonl", "txt", "parquet"):
            prompts, origin = read(tmp_path, local(tmp_path / f"in.{suffix}"))
            assert sorted(prompts) == ["a cat", "a dog"], suffix
            assert origin["dropped_examples"] == {"not UTF-8": [f"in.{suffix}, row 2"]}

    def test_broken_rows_of_text_files_have_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "in.csv").write_text('id,caption,n\n1,a dog,2\n2,"quoted, well",3\n3,lost, its quotes,4\n4\n')
        prompts, origin = read(tmp_path, local(tmp_path / "in.csv"))
        assert sorted(prompts) == ["a dog", "quoted, well"]
        assert origin["dropped_examples"] == {"no text": ["in.csv, row 3", "in.csv, row 4"]}
        lines = [
            '{"caption": "a dog"}',
            "{",
            '{"text": "x"}',
            '["x"]',
            '{"caption": 7}',
            '{"caption": null}',
            "[" * 9999,
        ]
        lines += ['{"caption": "\\ud83d"}', "", '{"caption": "a cat"}']
        (tmp_path / "in.jsonl").write_text("\n".join(lines))
        prompts, origin = read(tmp_path, local(tmp_path / "in.jsonl"))
        assert sorted(prompts) == ["a cat", "a dog"]
        assert origin["dropped"] == {"no text": 6, "not UTF-8": 1}

    def test_missing_values_and_categories_of_parquet_are_read(self, tmp_path: Path) -> None:
        table = pa.table({"caption": pa.array(["a dog", None, "a cat", "a dog"]).dictionary_encode()})
        pq.write_table(table, tmp_path / "in.parquet")
        prompts, origin = read(tmp_path, local(tmp_path / "in.parquet"))
        assert sorted(prompts) == ["a cat", "a dog"]
        assert origin["dropped"] == {"duplicate": 1, "no text": 1}

    @pytest.mark.parametrize(
        ("files", "settings", "words"),
        [
            ({}, {}, r"in does not exist"),
            ({"readme.md": b"x"}, {}, r"demo\.files: no file of .*in matches \*\.parquet, .*; it holds readme\.md"),
            ({"a.csv": b"x"}, {"files": ["*.parquet"]}, r"no file of .* matches \*\.parquet; it holds a\.csv"),
            ({"a.zip": b"x"}, {"files": ["*"]}, r"demo\.files: a\.zip is of no type that can be read"),
            ({"a.csv": b"id,text\n1,x\n"}, {}, r"a\.csv: no column 'caption' among id, text; .*`column`"),
            ({"a.csv": b""}, {}, r"a\.csv: no column 'caption' among ;"),
            ({"a.csv": b'caption\n"' + b"x" * 200_000}, {}, r"a\.csv, row 1: not valid CSV"),
            ({"a.parquet": b"PAR1 no"}, {}, r"a\.parquet: cannot be read as parquet"),
            ({"a.jsonl": b'{"text": "x"}\n{}\n'}, {}, r"none of 2 rows is usable .*2 no text"),
            ({"a.json": b'["a dog"'}, JSON, r"a\.json: not valid JSON"),
            ({"a.json": b"[" * 100_000}, JSON, r"a\.json: not valid JSON"),
            ({"a.json": b'["caf\xe9"]'}, JSON, r"a\.json: not valid JSON"),
            ({"a.json": b'{"caption": ["a dog"]}'}, JSON, r"a\.json: one JSON list of captions is needed"),
            ({"a.json": b'[{"caption": "a dog"}, 7]'}, JSON, r"none of 2 rows is usable .*2 no text"),
        ],
    )
    def test_a_source_that_cannot_be_read_says_why(
        self, tmp_path: Path, files: dict[str, bytes], settings: dict[str, Any], words: str
    ) -> None:
        for name, content in files.items():
            (tmp_path / "in").mkdir(exist_ok=True)
            (tmp_path / "in" / name).write_bytes(content)
        with pytest.raises(InputError, match=words) as caught:
            read(tmp_path, local(tmp_path / "in", **settings))
        assert str(caught.value).startswith("prompt_sources.demo")
        assert not (tmp_path / "out").exists()

    def test_a_column_of_numbers_is_refused(self, tmp_path: Path) -> None:
        write(tmp_path / "in.parquet", CAPTIONS)
        with pytest.raises(InputError, match="column 'videoid' holds int64, not text"):
            read(tmp_path, local(tmp_path / "in.parquet", column="videoid"))

    @pytest.mark.parametrize(
        "entry",
        [
            {"kind": "hub", "repo_id": "a/b"},
            {"kind": "hub", "repo_id": "a/b", "revision": "main"},
            {"kind": "hub", "repo_id": "a b", "revision": "v1"},
            {"kind": "local"},
            {"kind": "local", "path": "x", "files": []},
            {"kind": "local", "path": "x", "keep": 0},
            {"kind": "local", "path": "x", "trust_remote_code": True},
            {"kind": "url", "url": "https://x/y.txt"},
            {"kind": "url", "url": "https://x/y.txt", "sha256": "main"},
            {"kind": "url", "url": "y.txt", "sha256": "0" * 64},
            {"kind": "url", "url": "https://x/y.txt", "sha256": "0" * 64, "files": ["*"]},
        ],
    )
    def test_the_section_refuses_what_it_cannot_mean(self, entry: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            TypeAdapter(PromptSource).validate_python(entry)


class TestStyles:
    STYLES: dict[str, list[str]] = {  # noqa: RUF012
        "anime": ["A fox in 1984", "A whale", "A fox in 1984", "A cat"],
        "concept-art": ["A castle", "a whale."],
        "photo": ["A dog", "A kite"],
    }
    WHOLE: dict[str, Any] = {  # noqa: RUF012
        **JSON, "styles": "files", "order": "file", "drop_digits": False
    }  # fmt: skip

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """A benchmark as HPDv2's: a list of prompts a style."""
        for style, prompts in self.STYLES.items():
            (tmp_path / "in").mkdir(exist_ok=True)
            (tmp_path / f"in/{style}.json").write_text(json.dumps(prompts))
        return tmp_path

    def styled(self, folder: Path, **settings: Any) -> tuple[list[tuple[str, str]], dict[str, Any]]:
        _, origin = read(folder, local(folder / "in", **settings))
        table = read_table(folder / "out/demo.parquet", PROMPT_SET)
        return list(zip(table["prompt"], table["style"], strict=True)), origin

    def test_each_file_is_a_style_and_every_prompt_keeps_its_place(self, folder: Path) -> None:
        found, origin = self.styled(folder, **self.WHOLE)
        assert found == [
            ("A fox in 1984", "anime"), ("A whale", "anime"), ("A cat", "anime"), ("A castle", "concept-art"),
            ("A dog", "photo"), ("A kite", "photo"),
        ]  # fmt: skip
        assert origin["dropped"] == {"duplicate": 1, "duplicate of another style": 1}
        assert origin["dropped_examples"]["duplicate of another style"] == ["concept-art.json, row 2"]
        assert (origin["rows"], origin["kept"]) == (8, 6)
        assert origin["kept_by_style"] == {"anime": 3, "concept-art": 1, "photo": 2}

    def test_a_shuffled_source_with_styles_depends_on_no_order_of_files(self, folder: Path) -> None:
        shuffled = {**self.WHOLE, "order": "shuffled"}
        found, _ = self.styled(folder, **shuffled)
        assert dict(found) == {**dict(self.styled(folder, **self.WHOLE)[0])}
        assert found != self.styled(folder, **self.WHOLE)[0]
        plain, origin = read(folder, local(folder / "in", **JSON, drop_digits=False))
        assert plain == [prompt for prompt, _ in found], "styles change nothing else"
        assert "kept_by_style" not in origin
        assert read_table(folder / "out/demo.parquet", PROMPT_SET).columns.tolist() == ["prompt_id", "prompt"]

    def test_slices_and_sets_keep_the_styles(self, folder: Path) -> None:
        table = folder / "resources/prompts/bench.parquet"
        read_source("bench", local(folder / "in", **self.WHOLE), folder, table, table.with_suffix(".json"))
        taken = load_prompt_set("demo", PromptSet(source="bench", first=2, count=3), folder)
        assert taken["style"].tolist() == ["anime", "concept-art", "photo"]
        PROMPT_SET.validate(taken)

    def test_what_was_read_without_these_keys_is_not_read_again(self, tmp_path: Path) -> None:
        assert not {"styles", "order"} & set(local(tmp_path).decides())
        assert local(tmp_path, **self.WHOLE).decides()["order"] == "file"

    def test_a_file_that_is_too_large_to_read_whole_is_refused(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(captions, "JSON_BYTES", 30)
        with pytest.raises(InputError, match=r"anime\.json: a \.json file is read whole, up to 30 bytes"):
            self.styled(folder, **self.WHOLE)


class TestUrl:
    LIST = "A kite 2019 over Rome\nMixed Case  ,  and spaces \nA dog runs"

    def source(self, folder: Path, digest: str | None = None, name: str = "tests.txt", **settings: Any) -> UrlSource:
        (folder / name).write_text(self.LIST)
        given = {"url": (folder / name).as_uri(), "sha256": digest or sha256(folder / name), **settings}
        return UrlSource.model_validate({"kind": "url", "drop_digits": False, **given})

    def test_a_published_list_is_read_whole_and_its_record_names_address_and_digest(self, tmp_path: Path) -> None:
        settings = self.source(tmp_path)
        prompts, origin = read(tmp_path, settings)
        assert sorted(prompts) == ["A dog runs", "A kite 2019 over Rome", "Mixed Case  ,  and spaces"]
        assert origin["files"] == {"tests.txt": f"sha256:{settings.sha256}"} and origin["revision"] is None
        assert origin["source"]["url"] == settings.url
        assert not settings.files_here

    def test_another_digest_is_an_error_with_both_and_what_to_do(self, tmp_path: Path) -> None:
        settings = self.source(tmp_path)
        (tmp_path / "tests.txt").write_text("A dog sleeps")
        with pytest.raises(InputError, match=r"^prompt_sources\.demo\.sha256: file://") as caught:
            read(tmp_path, settings)
        for part in (settings.sha256, sha256(tmp_path / "tests.txt"), "check the address, and correct the digest only"):
            assert part in str(caught.value)
        assert not (tmp_path / "out").exists()

    def test_unpinned_takes_what_is_there_and_says_its_digest(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings = self.source(tmp_path, digest="unpinned")
        found = sha256(tmp_path / "tests.txt")
        assert read(tmp_path, settings)[1]["files"] == {"tests.txt": f"sha256:{found}"}
        assert f"write {found} there to pin it" in caplog.text

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"name": "tests.zip"}, r"demo\.url: 'tests\.zip' is of no type that can be read"),
            ({"max_bytes": 3}, r"demo\.max_bytes: .* gives more than 3 bytes"),
            ({"url": "file:///no/such/tests.txt", "digest": "0" * 64}, r"demo\.url: .*cannot be fetched"),
        ],
    )
    def test_what_cannot_be_fetched_or_read_says_why(
        self, tmp_path: Path, settings: dict[str, Any], words: str
    ) -> None:
        with pytest.raises(InputError, match=words):
            read(tmp_path, self.source(tmp_path, **settings))

    def test_captions_of_other_sources_are_left_out_and_counted(self, tmp_path: Path) -> None:
        read(tmp_path, self.source(tmp_path), "tests")
        write(tmp_path / "in.csv", [*CAPTIONS, "a kite 2019 over ROME.", "A dog runs "])
        settings = local(tmp_path / "in.csv", without=["tests"], drop_digits=False)
        table, origin = tmp_path / "out/more.parquet", tmp_path / "out/more.json"
        read_source("more", settings, tmp_path, table, origin, {"tests": tmp_path / "out/tests.parquet"})
        kept, record = read_table(table, PROMPT_SET)["prompt"].tolist(), json.loads(origin.read_text())
        assert sorted(kept) == sorted(set(CAPTIONS) - {"A dog runs"})
        assert record["dropped"] == {"in tests": 3}
        assert record["dropped_examples"] == {"in tests": ["in.csv, row 1", "in.csv, row 13", "in.csv, row 14"]}


class Counting(io.BytesIO):
    """Remembers how much was read."""

    taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        Counting.taken += len(data)
        return data


class Hub:
    """Stands in for the Hub's client: lists files, opens them in place or downloads them."""

    def __init__(self, folder: Path, error: Exception | None = None) -> None:
        self.folder, self.error = folder, error
        self.calls = list[tuple[str, str, object]]()

    def serve(self, monkeypatch: pytest.MonkeyPatch) -> "Hub":
        def api(token: object) -> object:
            def tree(repo_id: str, *, recursive: bool, revision: str, repo_type: str) -> list[object]:
                assert recursive and repo_type == "dataset" and repo_id == "lab/videos"
                self.calls.append(("list", revision, token))
                if self.error:
                    raise self.error
                files = sorted(path for path in self.folder.rglob("*") if path.is_file())
                listed = [
                    RepoFile(
                        path=path.relative_to(self.folder).as_posix(), size=path.stat().st_size, oid=f"oid-{path.name}"
                    )
                    for path in files
                ]
                return [SimpleNamespace(path="data"), *listed]  # a folder

            return SimpleNamespace(list_repo_tree=tree)

        def system(token: object) -> object:
            def opened(path: str, mode: str, revision: str) -> io.BytesIO:
                assert mode == "rb" and path.startswith("datasets/lab/videos/")
                self.calls.append(("open", revision, token))
                return Counting((self.folder / path.removeprefix("datasets/lab/videos/")).read_bytes())

            return SimpleNamespace(open=opened)

        def download(repo_id: str, file: str, *, repo_type: str, revision: str, token: object) -> str:
            assert repo_id == "lab/videos" and repo_type == "dataset"
            self.calls.append(("download", revision, token))
            return str(self.folder / file)

        monkeypatch.setattr(huggingface_hub, "HfApi", api)
        monkeypatch.setattr(huggingface_hub, "HfFileSystem", system)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
        return self


class TestHub:
    ENTRY = HubSource(kind="hub", repo_id="lab/videos", revision="abc123", files=["data/*"])

    @pytest.fixture(autouse=True)
    def _no_token(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("HF_TOKEN", raising=False)

    @pytest.mark.parametrize(("suffix", "how"), [(".parquet", "open"), (".csv", "download")])
    def test_a_dataset_reads_like_a_local_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, how: str
    ) -> None:
        write(tmp_path / f"hub/data/a{suffix}", CAPTIONS)
        write(tmp_path / f"hub/else/b{suffix}", ["not asked for"])
        hub = Hub(tmp_path / "hub").serve(monkeypatch)
        prompts, origin = read(tmp_path, self.ENTRY)
        assert prompts == read(tmp_path, local(tmp_path / "hub/data"))[0]
        assert hub.calls == [("list", "abc123", False), (how, "abc123", False)]
        assert origin["files"] == {f"data/a{suffix}": f"git:oid-a{suffix}"}
        assert origin["source"]["revision"] == "abc123"

    def test_of_parquet_only_the_captions_are_fetched(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        table = pd.DataFrame({"caption": CAPTIONS, "clip": [f"{place:032x}" * 20_000 for place in range(12)]})
        (tmp_path / "hub/data").mkdir(parents=True)
        table.to_parquet(tmp_path / "hub/data/a.parquet", compression=None)
        assert (tmp_path / "hub/data/a.parquet").stat().st_size > 7_000_000
        Hub(tmp_path / "hub").serve(monkeypatch)
        Counting.taken = 0
        assert sorted(read(tmp_path, self.ENTRY)[0]) == sorted(CAPTIONS)
        assert 0 < Counting.taken < 100_000

    def test_the_token_comes_from_the_environment_and_stays_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(tmp_path / "hub/data/a.csv", CAPTIONS)
        hub = Hub(tmp_path / "hub").serve(monkeypatch)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        _, origin = read(tmp_path, self.ENTRY)
        assert {token for *_, token in hub.calls} == {"hf_secret"}
        assert "hf_secret" not in json.dumps(origin)

    def test_the_hubs_errors_are_put_in_words(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answered: Callable[..., Exception]
    ) -> None:
        cases = [
            (answered(errors.GatedRepoError, 403), "gated .*huggingface.co/datasets/lab/videos"),
            (answered(errors.RepositoryNotFoundError, 404), r"demo\.repo_id: the Hub has no dataset lab/videos"),
            (answered(errors.RevisionNotFoundError, 404), r"demo\.revision: .*abc123 does not exist"),
            (errors.OfflineModeIsEnabled("offline"), r"cannot be reached .*kind: local"),
            (answered(errors.HfHubHTTPError, 503), "did not give lab/videos .*run again"),
        ]
        for error, words in cases:
            Hub(tmp_path, error).serve(monkeypatch)
            with pytest.raises(InputError, match=words):
                read(tmp_path, self.ENTRY)


@pytest.fixture
def answered() -> Callable[..., Exception]:
    """Makes an error of the Hub's client with the status it came with."""
    import httpx2

    def make(kind: Callable[..., Exception], status: int) -> Exception:
        request = httpx2.Request("GET", "https://huggingface.co/api/datasets/lab/videos")
        return kind(f"{status} Client Error", response=httpx2.Response(status, request=request))

    return make


class TestSlices:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        """A folder in which the source `clips` has been read."""
        write(tmp_path / "in.csv", CAPTIONS)
        table = tmp_path / "resources/prompts/clips.parquet"
        read_source("clips", local(tmp_path / "in.csv"), tmp_path, table, table.with_suffix(".json"))
        return tmp_path

    def test_sets_are_slices_of_the_sources_order(self, root: Path) -> None:
        whole = pd.read_parquet(root / "resources/prompts/clips.parquet")["prompt"].tolist()
        taken = []
        for first, count in ((0, 6), (6, 4), (10, 2)):
            settings = PromptSet(source="clips", first=first, count=count)
            table = load_prompt_set("demo", settings, root)
            PROMPT_SET.validate(table)
            assert table["prompt_id"].tolist() == [prompt_id(text) for text in table["prompt"]]
            assert count_prompts(settings, root) == count == len(table)
            taken += table["prompt"].tolist()
        assert taken == whole

    def test_a_slice_outside_and_a_source_that_is_not_there_are_refused(self, root: Path) -> None:
        with pytest.raises(InputError, match=r"prompt_sets\.demo: first=10 and count=3 reach outside .*which has 12"):
            load_prompt_set("demo", PromptSet(source="clips", first=10, count=3), root)
        with pytest.raises(InputError, match=r"demo\.source: .*other\.parquet does not exist yet; .*snakemake"):
            load_prompt_set("demo", PromptSet(source="other", count=3), root)
        (root / "resources/prompts/clips.parquet").write_bytes(b"half")
        with pytest.raises(InputError, match=r"clips\.parquet: is no table of captions, which prompt_sets\.demo"):
            load_prompt_set("demo", PromptSet(source="clips", count=3), root)

    def test_planning_counts_without_the_source(self, tmp_path: Path) -> None:
        assert count_prompts(PromptSet(source="clips", first=3000, count=2000), tmp_path) == 2000

    @pytest.mark.parametrize(
        ("entry", "words"),
        [
            ({}, "either `file` or `source`"),
            ({"file": "p.txt", "source": "clips", "count": 1}, "either `file` or `source`"),
            ({"source": "clips"}, "needs `count`"),
            ({"source": "clips", "count": 1, "shuffle": True}, "`shuffle` belongs to the source"),
            ({"source": "clips", "count": 1, "drop_digits": True}, "`drop_digits` belongs to the source"),
            ({"source": "clips", "count": 1, "column": "text"}, "`column` belongs to the source"),
            ({"source": "clips", "count": 1, "repeated": "first"}, "`repeated` belongs to the source"),
        ],
    )
    def test_a_set_has_one_origin_and_leaves_the_filters_to_its_source(
        self, entry: dict[str, object], words: str
    ) -> None:
        with pytest.raises(ValidationError, match=words):
            PromptSet.model_validate(entry)
        whole = PromptSet(source="clips", first=2, count=1)
        assert PromptSet.model_validate_json(whole.model_dump_json()) == whole

    def test_overlapping_slices_are_refused_before_any_download(self) -> None:
        sets = {
            "learned": PromptSet(source="clips", first=0, count=10),
            "test": PromptSet(source="clips", first=9, count=5),
            "later": PromptSet(source="clips", first=10, count=5),
            "elsewhere": PromptSet(source="films", first=0, count=10),
            "file": PromptSet(file="p.txt"),
        }
        with pytest.raises(
            InputError, match=r"prompt_sets\.learned and prompt_sets\.test .* places 9 to 9 of source clips"
        ):
            check_slices(sets, [("learned", "test")])
        check_slices(sets, [("learned", other) for other in ("later", "elsewhere", "file")] + [("file", "learned")])


def configured(shard_size: int = 30, **sets: dict[str, object]) -> Config:
    """The repository's configuration with a source nobody has read, and some prompt sets replaced."""
    raw = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")) | {"shard_size": shard_size}
    raw["prompt_sources"] = {"webvid": {"kind": "hub", "repo_id": "lab/videos", "revision": "abc123"}}
    raw["prompt_sets"] |= sets
    return check(raw, ROOT)


class TestConfiguration:
    EVOLUTION = {"source": "webvid", "first": 0, "count": 3000}  # noqa: RUF012

    def test_shards_are_planned_before_the_download(self) -> None:
        heldout = {"source": "webvid", "first": 5000, "count": 130}
        study = Study(configured(shard_size=50, evolution=self.EVOLUTION, heldout=heldout), ROOT)
        assert len(study.shards(study.batch("mini-t2v", "evolution/round-0"))) == 60
        assert len(study.shards(study.batch("mini-t2v", "evaluation/heldout/original"))) == 3

    def test_sets_that_planning_cannot_compare_are_compared_when_they_are_read(self) -> None:
        study = Study(configured(evolution=self.EVOLUTION), ROOT)
        assert study.apart("heldout") == ["evolution"]
        assert study.apart("evolution") == study.apart("preference") == []
        assert Study(configured(), ROOT).apart("heldout") == []

    def test_unknown_sources_and_overlaps_are_refused(self) -> None:
        with pytest.raises(
            InputError, match=r"prompt_sets\.evolution\.source: there is no 'webvid2'; known are webvid"
        ):
            configured(evolution=self.EVOLUTION | {"source": "webvid2"})
        for without in (["webvid"], ["other"]):
            with pytest.raises(InputError, match=rf"webvid\.without: '{without[0]}' takes captions away itself"):
                raw = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
                hub = {"kind": "hub", "repo_id": "lab/videos", "revision": "abc123"}
                raw["prompt_sources"] = {"webvid": hub | {"without": without}, "other": hub | {"without": ["webvid"]}}
                check(raw, ROOT)
        with pytest.raises(InputError, match="both take places 2999 to 2999 of source webvid"):
            configured(evolution=self.EVOLUTION, heldout={"source": "webvid", "first": 2999, "count": 130})


class TestEvaluationStyles:
    BENCHMARK = {"source": "benchmark", "count": 3172}  # noqa: RUF012

    def configured(self, named: list[str], **source: object) -> Config:
        raw = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
        hub = {"kind": "hub", "repo_id": "lab/prompts", "revision": "abc123", "files": ["*.json"]}
        raw["prompt_sources"] = {"benchmark": {**hub, **source}}
        raw["prompt_sets"]["benchmark"] = self.BENCHMARK
        raw["evaluation"]["sets"]["benchmark"] = {"prompts": "benchmark", "styles": named}
        return check(raw, ROOT)

    def test_a_set_whose_source_has_no_styles_is_refused(self) -> None:
        assert self.configured(["anime", "photo"], styles="files").evaluation.sets["benchmark"].styles
        with pytest.raises(InputError, match=r"sets\.benchmark\.styles: prompt_sources\.benchmark has no styles; set"):
            self.configured(["anime", "photo"])

    @pytest.mark.parametrize("style", ["mean", "gain_ci_low", "photo_std", "tokens_seen"])
    def test_a_style_that_is_another_column_is_refused(self, style: str) -> None:
        with pytest.raises(InputError, match=f"'{style}' is another column of the table"):
            self.configured(["anime", style], styles="files")

    def test_a_style_listed_twice_is_refused(self) -> None:
        with pytest.raises(InputError, match="'anime' is listed more than once"):
            self.configured(["anime", "anime"], styles="files")

    def test_styles_of_a_file_are_compared_before_anything_runs(self) -> None:
        def styled(styles: list[str], **entry: object) -> Config:
            raw = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
            raw["prompt_sets"]["styled"] = {"file": "resources/prompts/miniature-styles.csv", **entry}
            raw["evaluation"]["sets"]["styled"] = {"prompts": "styled", "styles": styles}
            return check(raw, ROOT)

        column = {"style_column": "style"}
        assert styled(["horizon", "tiles", "wall", "stripes"], **column)
        with pytest.raises(InputError, match=r"sets\.styled\.styles: prompt_sets\.styled has no prompt of style 'sky'"):
            styled(["horizon", "tiles", "wall", "stripes", "sky"], **column)
        with pytest.raises(InputError, match="have another style, 'stripes', 'horizon'"):
            styled(["tiles", "wall"], **column)
        with pytest.raises(InputError, match=r"prompt_sets\.styled has no styles; name their column in its `style_col"):
            styled(["tiles", "wall"])

    def test_styles_of_a_source_are_compared_when_the_set_is_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        table = tmp_path / "resources/prompts/benchmark.parquet"
        write(tmp_path / "in/anime.csv", CAPTIONS)
        read_source("x", local(tmp_path / "in", styles="files"), tmp_path, table, table.with_suffix(".json"))
        monkeypatch.setattr(self, "BENCHMARK", {"source": "benchmark", "count": 12})
        monkeypatch.chdir(tmp_path)
        for styles, words in ((["anime", "photo"], "no prompt of style 'photo'"), (["anime"], "")):
            study = Study(self.configured(styles, styles="files"), ROOT)
            for other in study.apart("benchmark"):
                write_table(load_prompt_set(other, study.config.prompt_sets[other], ROOT),
                            Path(study.layout.prompt_set(other)), PROMPT_SET)  # fmt: skip
            if words:
                with pytest.raises(InputError, match=words):
                    read_prompt_set(study, "benchmark")
            else:
                read_prompt_set(study, "benchmark")
                assert "style" in read_table(Path(study.layout.prompt_set("benchmark")), PROMPT_SET)


@pytest.mark.workflow
def test_the_workflow_reads_a_source_once_for_all_its_sets(tmp_path: Path) -> None:
    for name in ("Snakefile", "config.yaml", "envs", "profiles", "promptavideo", "rules", "scripts", "templates"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "resources/prompts", tmp_path / "resources/prompts")
    (tmp_path / "resources/vbench").mkdir()
    (tmp_path / "resources/vbench/checkpoints.yaml").symlink_to(ROOT / "resources/vbench/checkpoints.yaml")
    write(tmp_path / "clips/a.parquet", [*CAPTIONS, "room 101"])
    source = {"kind": "local", "path": "clips"}
    sets = {
        "evolution": {"file": None, "source": "clips", "first": 0, "count": 6},
        "preference": {"file": None, "source": "clips", "first": 6, "count": 4},
        "mine": {"source": "clips", "first": 10, "count": 2},
    }
    overlay = {
        "prompt_sources": {"clips": source},
        "prompt_sets": sets,
        "evaluation": {"sets": {"mine": {"prompts": "mine"}}},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(overlay))
    targets = [f"results/prompt_sets/{name}.parquet" for name in (*sets, "heldout")]
    command = ["snakemake", *targets, "--cores", "1", "--quiet", "rules", "--configfile", "config.yaml", "mine.yaml"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
    tables = {name: read_table(tmp_path / f"results/prompt_sets/{name}.parquet", PROMPT_SET) for name in sets}
    taken = [text for table in tables.values() for text in table["prompt"]]
    assert sorted(taken) == sorted(CAPTIONS)
    origin = json.loads((tmp_path / "resources/prompts/clips.json").read_text())
    assert origin["dropped"] == {"three or more digits": 1}
    (tmp_path / "mine.txt").write_text(f"{tables['evolution']['prompt'][0].upper()}\n")
    overlay["prompt_sets"]["mine"] = {"file": "mine.txt"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(overlay))
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert run.returncode != 0
    assert "prompt_sets.mine and prompt_sets.evolution must not share prompts, but 1 stand in both" in run.stderr
