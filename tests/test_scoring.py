import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fakes import Judge, Painter, prompts_table

from promptavideo import store as store_module
from promptavideo.errors import InputError, ScoreError
from promptavideo.filming import film_shard
from promptavideo.rewards.base import Reward
from promptavideo.schemas import DIMENSIONS, REWARDS, SCORES, read_table, write_table
from promptavideo.scoring import gather, score_shard
from promptavideo.shards import shard_rows
from promptavideo.store import Store
from promptavideo.video import Clip, read_video

TEXTS = {"a red ball": ["a red ball", "a vivid red ball"], "a box": ["a box", "a sharp box"]}


@pytest.fixture
def filmed(tmp_path: Path) -> tuple[pd.DataFrame, Path, Store]:
    rows, store = prompts_table(TEXTS), Store(tmp_path / "store", "painter")
    film_shard(rows, Painter(), store, tmp_path / "0000.jsonl", "film")
    return rows, tmp_path / "0000.jsonl", store


Filmed = tuple[pd.DataFrame, Path, Store]


def test_rewards_see_the_original_prompt_and_fill_the_table(filmed: Filmed, tmp_path: Path) -> None:
    rows, manifest, store = filmed
    judge = Judge()
    table = score_shard(rows, manifest, {"judge": judge}, store, "score")
    assert judge.prompts == rows["prompt"].tolist()
    first = read_video(store.video(table["key"][0])).frames.mean() + len("a red ball")
    assert table.loc[0, list(DIMENSIONS)].tolist() == pytest.approx([first + place for place in range(7)])
    write_table(table, tmp_path / "rewards.parquet", REWARDS)
    pd.testing.assert_frame_equal(read_table(tmp_path / "rewards.parquet", REWARDS), table, check_dtype=False)


def test_several_rewards_fill_their_own_dimensions(filmed: Filmed) -> None:
    rows, manifest, store = filmed

    class Greedy(Judge):
        """Also gives a dimension that is not its own."""

        def score(self, clips: Sequence[Clip], prompts: Sequence[str]) -> list[dict[str, float]]:
            return [{"VQ": -1.0, "AES": np.float32(5.5), "MPS": np.float64(9.0)} for _ in clips]

    rewards: dict[str, Reward] = {"judge": Judge(DIMENSIONS[:5]), "greedy": Greedy(("AES", "MPS"))}
    for _ in range(2):  # fresh, then cached
        table = score_shard(rows, manifest, rewards, store, "score")
        assert (table["VQ"] > 0).all()
        assert set(table["AES"]) == {5.5} and set(table["MPS"]) == {9.0}


def test_a_cached_reward_is_neither_decoded_nor_scored_again(filmed: Filmed, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, manifest, store = filmed
    first = score_shard(rows, manifest, {"judge": Judge()}, store, "score")
    decoded: list[Path] = []
    monkeypatch.setattr(store_module, "read_video", lambda path: decoded.append(path) or read_video(path))
    again = Judge()
    pd.testing.assert_frame_equal(score_shard(rows, manifest, {"judge": again}, store, "score"), first)
    assert not again.prompts and not decoded


def test_each_video_is_decoded_once_for_all_rewards(filmed: Filmed, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, manifest, store = filmed
    decoded: list[Path] = []
    monkeypatch.setattr(store_module, "read_video", lambda path: decoded.append(path) or read_video(path))
    score_shard(rows, manifest, {"a": Judge(DIMENSIONS[:5]), "b": Judge(DIMENSIONS[5:])}, store, "score")
    assert len(decoded) == len(rows) == len(set(decoded))


def test_the_cache_tells_rewards_and_original_prompts_apart(filmed: Filmed) -> None:
    rows, manifest, store = filmed
    score_shard(rows, manifest, {"judge 1": Judge()}, store, "score")
    other, same = Judge(), Judge()
    score_shard(rows, manifest, {"judge 2": other}, store, "score")
    assert len(other.prompts) == len(rows)
    reworded = rows.assign(prompt=rows["prompt"].replace("a box", "one box"))
    table = score_shard(reworded, manifest, {"judge 1": same}, store, "score")
    assert same.prompts == ["one box", "one box"]
    assert len(table) == len(rows)


def test_a_damaged_cache_file_is_scored_again(filmed: Filmed) -> None:
    rows, manifest, store = filmed
    first = score_shard(rows, manifest, {"judge": Judge()}, store, "score")
    cached = next(store.folder.glob("scores/*/*.json"))
    cached.write_text('{"VQ": 1.')
    again = Judge()
    pd.testing.assert_frame_equal(score_shard(rows, manifest, {"judge": again}, store, "score"), first)
    assert len(again.prompts) == 1


def test_a_score_that_is_not_finite_is_tried_once_more(filmed: Filmed) -> None:
    rows, manifest, store = filmed
    judge = Judge(nans=1)
    table = score_shard(rows, manifest, {"judge": judge}, store, "score")
    assert len(judge.prompts) == len(rows) + 1
    assert np.isfinite(table[list(DIMENSIONS)].to_numpy()).all()


def test_a_score_that_stays_not_finite_is_an_error_and_is_not_cached(filmed: Filmed) -> None:
    rows, manifest, store = filmed
    judge = Judge(nans=math.inf)
    with pytest.raises(ScoreError, match=r"\.mp4: MPS is not a finite number, scored twice by Judge"):
        score_shard(rows, manifest, {"judge": judge}, store, "score")
    assert len(judge.prompts) == 2
    assert not list(store.folder.glob("scores/*/*"))


def test_a_dimension_that_a_reward_leaves_out_is_an_error(filmed: Filmed) -> None:
    rows, manifest, store = filmed

    class Lazy(Judge):
        def score(self, clips: Sequence[Clip], prompts: Sequence[str]) -> list[dict[str, float]]:
            return [{"VQ": 1.0} for _ in clips]

    with pytest.raises(ScoreError, match="TC is not a finite number"):
        score_shard(rows, manifest, {"lazy": Lazy(("VQ", "TC"))}, store, "score")


def test_a_manifest_of_another_table_is_refused(filmed: Filmed) -> None:
    rows, manifest, store = filmed
    for other in (rows.iloc[:-1], rows.iloc[::-1], rows.assign(replicate=1)):
        with pytest.raises(InputError, match=r"0000\.jsonl: does not name the rows"):
            score_shard(other.reset_index(drop=True), manifest, {"judge": Judge()}, store, "score")


def test_gather_follows_the_prompts_table_and_adds_the_five_scale(filmed: Filmed, tmp_path: Path) -> None:
    rows, manifest, store = filmed
    rewards = score_shard(rows, manifest, {"judge": Judge()}, store, "score")
    table = gather(rows, [rewards.iloc[3:], rewards.iloc[:3].iloc[::-1]])
    pd.testing.assert_frame_equal(table[list(rows.columns)], rows)
    assert table["key"].tolist() == rewards["key"].tolist()
    assert table["AES_5"].tolist() == pytest.approx((rewards["AES"] * 5 / 8).tolist())
    assert table["MPS_5"].tolist() == pytest.approx((rewards["MPS"] / 4).tolist())
    assert table["VQ_5"].tolist() == rewards["VQ"].tolist()
    write_table(table, tmp_path / "scores.parquet", SCORES)


def test_gather_names_the_first_row_without_rewards(filmed: Filmed) -> None:
    rows, manifest, store = filmed
    rewards = score_shard(rows, manifest, {"judge": Judge()}, store, "score")
    with pytest.raises(InputError, match=r"'prompt_id': 'pa box', 'candidate': 0.*and 1 more rows"):
        gather(rows, [rewards.iloc[:2]])


def test_an_empty_shard_goes_through_the_schemas(filmed: Filmed, tmp_path: Path) -> None:
    rows, manifest, store = filmed
    nothing = shard_rows(rows, 5, 2)
    film_shard(nothing, Painter(videos=0), store, tmp_path / "0005.jsonl", "film")
    judge = Judge()
    empty = score_shard(nothing, tmp_path / "0005.jsonl", {"judge": judge}, store, "score")
    assert not judge.prompts and len(empty) == 0
    write_table(empty, tmp_path / "empty.parquet", REWARDS)
    write_table(score_shard(rows, manifest, {"judge": judge}, store, "score"), tmp_path / "full.parquet", REWARDS)
    shards = [read_table(tmp_path / f"{name}.parquet", REWARDS) for name in ("empty", "full", "empty")]
    table = gather(rows, shards)
    write_table(table, tmp_path / "scores.parquet", SCORES)
    assert len(read_table(tmp_path / "scores.parquet", SCORES)) == len(rows)
    write_table(gather(nothing, shards[:1]), tmp_path / "scores.parquet", SCORES)
