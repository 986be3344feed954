"""Shots: the tables that list them, the keys of their videos, and who films away from what they say."""

import json
from pathlib import Path
from typing import Any

import pytest
from fakes import Painter, prompts_table

from promptavideo.errors import InputError
from promptavideo.filming import check_negatives, film_shard
from promptavideo.generators.api import OpenAIVideoConfig, OpenAIVideoGenerator
from promptavideo.generators.command import CommandConfig, CommandGenerator
from promptavideo.generators.diffusers import DiffusersGenerator
from promptavideo.generators.diffusers_config import DiffusersConfig
from promptavideo.schemas import PROMPTS, read_table, write_table
from promptavideo.seeds import video_seed
from promptavideo.shots import Refined, Shot, shots_of
from promptavideo.shots import prompts_table as table_of
from promptavideo.store import Store, read_manifest

BALL = Shot("a red ball", None, 7)
HOSTED = OpenAIVideoConfig(
    kind="openai-video", base_url="https://x.example/v1", model="m", size="32x16", seconds=4, seconds_per_video=1,
    key_variable=None,
)  # fmt: skip


def config(pipeline: str, **fields: Any) -> DiffusersConfig:
    return DiffusersConfig(kind="diffusers", pipeline=pipeline, model="m", fps=8, seconds_per_video=1, **fields)


class Avoiding(Painter):
    """Paints away from negative prompts, its own among them."""

    negative_prompt, takes_negative = "blurry", True


def test_the_one_maker_of_tables_numbers_candidates_and_repeats_them_with_paired_seeds(tmp_path: Path) -> None:
    texts = {"p2": ["two", Refined("zwei", "dark")], "p1": ["one"], "p0": []}
    table = table_of({"p0": "0", "p1": "1", "p2": "2"}, texts, run_seed=3, replicates=2, first=4)
    columns = ["prompt_id", "prompt", "candidate", "refined", "replicate", "seed"]
    assert list(table[columns].itertuples(index=False, name=None)) == [
        ("p1", "1", 4, "one", 0, video_seed(3, "p1", 0)),
        ("p1", "1", 4, "one", 1, video_seed(3, "p1", 1)),
        ("p2", "2", 4, "two", 0, video_seed(3, "p2", 0)),
        ("p2", "2", 4, "two", 1, video_seed(3, "p2", 1)),
        ("p2", "2", 5, "zwei", 0, video_seed(3, "p2", 0)),
        ("p2", "2", 5, "zwei", 1, video_seed(3, "p2", 1)),
    ]
    assert [shot.negative for shot in shots_of(table)] == [None] * 4 + ["dark"] * 2
    for part in (table, table[table["candidate"] == 4]):
        write_table(part, tmp_path / "prompts.parquet", PROMPTS)
        assert shots_of(read_table(tmp_path / "prompts.parquet", PROMPTS)) == shots_of(part)


def test_keys_of_videos_without_a_negative_prompt_of_their_own_are_those_of_earlier_versions(tmp_path: Path) -> None:
    assert Painter().key(BALL) == "6ae0a6efecee63cb9f4279f5d979d473"
    assert Painter().key(Shot("a über ball", None, 7)) == "44e6056c35ab1aebb0345c4d4933dd40"
    fields: dict[str, Any] = {"version": "1", "timeout_s": 1, "width": 16, "height": 16, "frames": 1, "fps": 8}
    command = CommandConfig(kind="command", command=["true", "{prompts}", "{output}"], seconds_per_video=1, **fields)
    assert CommandGenerator(command, "generators.x", None, tmp_path).key(BALL) == "1c915e06c3248a7bba5f213b42762863"
    assert OpenAIVideoGenerator(HOSTED, "generators.x", tmp_path).key(BALL) == "c3a39b5b8dff92f6a78f67746c35f5aa"
    diffusers = object.__new__(DiffusersGenerator)
    diffusers.config = config(
        "WanPipeline", dtype="float32", negative_prompt="blurry", sampling={"guidance_scale": 3.0}
    )
    diffusers._model, diffusers._loras, diffusers.negative_prompt = "digest", [], "blurry"
    assert diffusers.key(BALL) == "4238130b1cdac79b46f02a9cd584a301"
    keys = [Avoiding().key(Shot("a red ball", negative, 7)) for negative in (None, "blurry", "", "dark")]
    assert keys[0] == keys[1] == "6ae0a6efecee63cb9f4279f5d979d473"
    assert len({*keys}) == 3


def test_a_negative_prompt_makes_another_video_and_the_generators_own_none(tmp_path: Path) -> None:
    store, painter = Store(tmp_path, "painter"), Avoiding()
    film_shard(prompts_table({"a": ["one"]}), painter, store, tmp_path / "0.jsonl", "film")
    rows = prompts_table({"a": ["one", Refined("one", "blurry"), Refined("one", "dark")]})
    film_shard(rows, painter, store, tmp_path / "1.jsonl", "film")
    first, same, other = read_manifest(tmp_path / "1.jsonl")
    assert first.sha256 == same.sha256 != other.sha256
    assert [shot.negative for shot in painter.filmed] == [None, "dark"]


def test_the_record_beside_a_video_says_what_it_shows_and_gives_its_key_again(tmp_path: Path) -> None:
    store, painter = Store(tmp_path, "painter"), Avoiding()
    rows = prompts_table({"a": ["one \u00fc", Refined("one", "dark"), Refined("two", "blurry")]})
    film_shard(rows, painter, store, tmp_path / "0.jsonl", "film")
    entries = read_manifest(tmp_path / "0.jsonl")
    for entry, text, negative in zip(entries, rows["refined"], (None, "dark", None), strict=True):
        found = json.loads(store.circumstances(entry.key).read_text())
        assert (found["text"], found["negative"], found["seed"]) == (text, negative, rows["seed"][0])
        assert (found["identity"], found["device"]) == (painter.identity(), "easel")
        assert painter.key(Shot(found["text"], found["negative"], found["seed"])) == entry.key
        assert store.made_with(entry)["device"] == "easel" and "text" not in store.made_with(entry)
        old = {name: found[name] for name in ("device", "made_with")}  # as earlier versions wrote it
        store.circumstances(entry.key).write_text(json.dumps(old))
        again = store.find(entry.key)
        assert again is not None and (again.device, again.made_with) == (entry.device, entry.made_with)


def test_who_takes_no_negative_prompts_is_named_before_the_first_video(tmp_path: Path) -> None:
    rows = prompts_table({"a": ["one", Refined("two", "dark")], "b": [Refined("three", "dark")]})
    painter = Painter()
    with pytest.raises(
        InputError, match=r"generators\.painter: .* 2 of 3 rows have one \(first prompt pa, candidate 1: 'dark'\)"
    ):
        film_shard(rows, painter, Store(tmp_path, "painter"), tmp_path / "0.jsonl", "film")
    assert not painter.filmed
    avoiding = Avoiding()
    avoiding.takes_negative = False
    check_negatives(prompts_table({"a": ["one", Refined("two", "blurry")]}), avoiding, "painter")  # what it does anyway


@pytest.mark.parametrize(
    ("pipeline", "sampling", "takes"),
    [
        ("CogVideoXPipeline", {}, True),  # the call's default is 6
        ("CogVideoXPipeline", {"guidance_scale": 1.0}, False),
        ("WanPipeline", {"guidance_scale": 1.0}, False),
        ("WanPipeline", {"guidance_scale": 1.5}, True),
        ("LTXConditionPipeline", {"guidance_scale": 1}, False),
        ("HunyuanVideoPipeline", {"guidance_scale": 6.0}, False),  # that one is a distilled model's input
        ("HunyuanVideoPipeline", {"true_cfg_scale": 6.0}, True),
        ("HunyuanVideo15Pipeline", {}, True),  # its own guider decides
    ],
)
def test_a_pipeline_takes_negative_prompts_where_its_guidance_is_on(
    pipeline: str, sampling: dict[str, Any], takes: bool
) -> None:
    entry = config(pipeline, sampling=sampling)
    assert entry.takes_negative is takes
    rows = prompts_table({"a": [Refined("one", "dark")]})
    if takes:
        check_negatives(rows, entry, "mine")
    else:
        with pytest.raises(InputError, match=r"generators\.mine: takes no negative prompts"):
            check_negatives(rows, entry, "mine")


def test_commands_say_whether_they_take_negative_prompts_and_hosted_models_take_none() -> None:
    fields: dict[str, Any] = {
        "kind": "command", "command": ["film", "{prompts}", "{output}"], "version": "1", "timeout_s": 1, "width": 16,
        "height": 16, "frames": 1, "fps": 8, "seconds_per_video": 1,
    }  # fmt: skip
    assert not CommandConfig(**fields).takes_negative
    assert CommandConfig(**fields, takes_negative=True).takes_negative
    with pytest.raises(ValueError, match="takes_negative: false, or prompts: jsonl"):
        CommandConfig(
            **fields | {"command": ["f", "{prompts}", "{output}", "{seed}"]}, prompts="lines", takes_negative=True
        )
    with pytest.raises(InputError, match=r"generators\.sora: takes no negative prompts"):
        check_negatives(prompts_table({"a": [Refined("one", "dark")]}), HOSTED, "sora")
