import math
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fakes import METRICS, Critic, Painter, prompts_table
from makers import SCORES, judge_config

from promptavideo import store as store_module
from promptavideo.errors import InputError, ScoreError
from promptavideo.filming import film_shard
from promptavideo.judges import Judges, load_judges
from promptavideo.judges.base import Judge
from promptavideo.metrics import PAPER
from promptavideo.schemas import read_table, rewards, write_table
from promptavideo.scoring import gather, score_shard
from promptavideo.shards import shard_names, shard_rows
from promptavideo.store import Store, read_manifest
from promptavideo.video import Clip, read_video

REWARDS = rewards(PAPER)
TEXTS = {"a red ball": ["a red ball", "a vivid red ball"], "a box": ["a box", "a sharp box"]}


@pytest.fixture
def filmed(tmp_path: Path) -> tuple[pd.DataFrame, Path, Store]:
    rows, store = prompts_table(TEXTS), Store(tmp_path / "store", "painter")
    film_shard(rows, Painter(), store, tmp_path / "0000.jsonl", "film")
    return rows, tmp_path / "0000.jsonl", store


Filmed = tuple[pd.DataFrame, Path, Store]


def test_judges_see_the_original_prompt_and_fill_the_table(filmed: Filmed, tmp_path: Path) -> None:
    rows, manifest, store = filmed
    judge = Critic()
    table = score_shard(rows, [manifest], {"judge": judge}, PAPER, store, "score")
    assert judge.prompts == rows["prompt"].tolist()
    first = read_video(store.video(table["key"][0])).frames.mean() + len("a red ball")
    assert table.loc[0, list(METRICS)].tolist() == pytest.approx([first + place for place in range(7)])
    write_table(table, tmp_path / "rewards.parquet", REWARDS)
    pd.testing.assert_frame_equal(read_table(tmp_path / "rewards.parquet", REWARDS), table, check_dtype=False)


def test_several_judges_fill_their_own_metrics(filmed: Filmed) -> None:
    rows, manifest, store = filmed

    class Greedy(Critic):
        """Also gives a metric that is not its own."""

        def score(self, clips: Sequence[Clip], prompts: Sequence[str]) -> list[dict[str, float]]:
            return [{"VQ": -1.0, "AES": np.float32(5.5), "MPS": np.float64(9.0)} for _ in clips]

    judges: dict[str, Judge] = {"judge": Critic(METRICS[:5]), "greedy": Greedy(("AES", "MPS"))}
    for _ in range(2):  # fresh, then cached
        table = score_shard(rows, [manifest], judges, PAPER, store, "score")
        assert (table["VQ"] > 0).all()
        assert set(table["AES"]) == {5.5} and set(table["MPS"]) == {9.0}


def test_a_cached_reward_is_neither_decoded_nor_scored_again(filmed: Filmed, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, manifest, store = filmed
    first = score_shard(rows, [manifest], {"judge": Critic()}, PAPER, store, "score")
    decoded: list[Path] = []
    monkeypatch.setattr(store_module, "read_video", lambda path: decoded.append(path) or read_video(path))
    again = Critic()
    pd.testing.assert_frame_equal(score_shard(rows, [manifest], {"judge": again}, PAPER, store, "score"), first)
    assert not again.prompts and not decoded


def test_each_video_is_decoded_once_for_all_rewards(filmed: Filmed, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, manifest, store = filmed
    decoded: list[Path] = []
    monkeypatch.setattr(store_module, "read_video", lambda path: decoded.append(path) or read_video(path))
    score_shard(rows, [manifest], {"a": Critic(METRICS[:5]), "b": Critic(METRICS[5:])}, PAPER, store, "score")
    assert len(decoded) == len(rows) == len(set(decoded))


def test_the_cache_tells_rewards_and_original_prompts_apart(filmed: Filmed) -> None:
    rows, manifest, store = filmed
    score_shard(rows, [manifest], {"judge 1": Critic()}, PAPER, store, "score")
    other, same = Critic(), Critic()
    score_shard(rows, [manifest], {"judge 2": other}, PAPER, store, "score")
    assert len(other.prompts) == len(rows)
    reworded = rows.assign(prompt=rows["prompt"].replace("a box", "one box"))
    table = score_shard(reworded, [manifest], {"judge 1": same}, PAPER, store, "score")
    assert same.prompts == ["one box", "one box"]
    assert len(table) == len(rows)


def test_a_damaged_cache_file_is_scored_again(filmed: Filmed) -> None:
    rows, manifest, store = filmed
    first = score_shard(rows, [manifest], {"judge": Critic()}, PAPER, store, "score")
    cached = next(store.folder.glob("scores/*/*.json"))
    cached.write_text('{"VQ": 1.')
    again = Critic()
    pd.testing.assert_frame_equal(score_shard(rows, [manifest], {"judge": again}, PAPER, store, "score"), first)
    assert len(again.prompts) == 1


def test_a_score_that_is_not_finite_is_tried_once_more(filmed: Filmed) -> None:
    rows, manifest, store = filmed
    judge = Critic(nans=1)
    table = score_shard(rows, [manifest], {"judge": judge}, PAPER, store, "score")
    assert len(judge.prompts) == len(rows) + 1
    assert np.isfinite(table[list(METRICS)].to_numpy()).all()


def test_a_score_that_stays_not_finite_is_an_error_and_is_not_cached(filmed: Filmed) -> None:
    rows, manifest, store = filmed
    judge = Critic(nans=math.inf)
    with pytest.raises(ScoreError, match=r"\.mp4: MPS is not a finite number, scored twice by Critic"):
        score_shard(rows, [manifest], {"judge": judge}, PAPER, store, "score")
    assert len(judge.prompts) == 2
    assert not list(store.folder.glob("scores/*/*"))


def test_a_metric_that_a_judge_leaves_out_is_an_error(filmed: Filmed) -> None:
    rows, manifest, store = filmed

    class Lazy(Critic):
        def score(self, clips: Sequence[Clip], prompts: Sequence[str]) -> list[dict[str, float]]:
            return [{"VQ": 1.0} for _ in clips]

    with pytest.raises(ScoreError, match="TC is not a finite number"):
        score_shard(rows, [manifest], {"lazy": Lazy(("VQ", "TC"))}, PAPER, store, "score")


def test_a_manifest_of_another_table_is_refused(filmed: Filmed) -> None:
    rows, manifest, store = filmed
    told = manifest.read_bytes()
    for other in (rows.iloc[:-1], rows.iloc[::-1], rows.assign(replicate=1)):
        manifest.write_bytes(told)
        with pytest.raises(InputError, match=r"0000\.jsonl: does not name the rows"):
            score_shard(other.reset_index(drop=True), [manifest], {"judge": Critic()}, PAPER, store, "score")
        assert not manifest.exists(), "the next run films what is missing and writes another"


def test_a_video_that_is_gone_is_named_though_its_scores_are_kept(filmed: Filmed) -> None:
    rows, manifest, store = filmed
    first = score_shard(rows, [manifest], {"judge": Critic()}, PAPER, store, "score")
    store.video(first["key"][1]).unlink()
    with pytest.raises(ScoreError, match=r"the video is gone\. It belongs to prompt pa red ball, candidate 1"):
        score_shard(rows, [manifest], {"judge": Critic()}, PAPER, store, "score")
    assert not manifest.exists()
    film_shard(rows, painter := Painter(), store, manifest, "film")
    assert len(painter.filmed) == 1
    pd.testing.assert_frame_equal(score_shard(rows, [manifest], {"judge": Critic()}, PAPER, store, "score"), first)


@pytest.mark.parametrize("damage", ['{"VQ": NaN}', "{}", '{"VQ": 1.0', ""])
def test_a_damaged_cached_reward_is_named_and_scored_again(
    filmed: Filmed, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    rows, manifest, store = filmed
    first = score_shard(rows, [manifest], {"judge": Critic()}, PAPER, store, "score")
    next(store.folder.glob("scores/*/*.json")).write_text(damage)
    again = Critic()
    pd.testing.assert_frame_equal(score_shard(rows, [manifest], {"judge": again}, PAPER, store, "score"), first)
    assert len(again.prompts) == 1
    assert re.search(r"holds no scores of prompt pa .*; scoring .*\.mp4 again", caplog.text)


class Batched(Critic):
    """Judges several clips a call, from their first frames, and remembers what it was given."""

    def __init__(self, batch_size: int, frames: int = 2, **fields: Any) -> None:
        super().__init__(**fields)
        self.batch_size, self.frames = batch_size, frames
        self.batches: list[list[Clip]] = []

    def prepare(self, clip: Clip, prompt: str) -> Any:
        return Clip(clip.frames[: self.frames], clip.fps), prompt

    def score(self, clips: Sequence[Clip], prompts: Sequence[str]) -> list[dict[str, float]]:
        self.batches.append(list(clips))
        return super().score(clips, prompts)


@pytest.fixture
def many(tmp_path: Path) -> Filmed:
    """Seven videos."""
    rows = prompts_table({f"prompt {number}": [f"text {number}"] for number in range(7)})
    store = Store(tmp_path / "store", "painter")
    film_shard(rows, Painter(), store, tmp_path / "0000.jsonl", "film")
    return rows, tmp_path / "0000.jsonl", store


def cached(store: Store) -> int:
    return len(list(store.folder.glob("scores/*/*.json")))


def test_each_reward_gets_its_own_batches_from_one_decode(many: Filmed, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, manifest, store = many
    decoded: list[Path] = []
    monkeypatch.setattr(store_module, "read_video", lambda path: decoded.append(path) or read_video(path))
    three, five = Batched(3, metrics=METRICS[:5]), Batched(5, frames=4, metrics=METRICS[5:])
    table = score_shard(rows, [manifest], {"three": three, "five": five}, PAPER, store, "score")
    assert [len(batch) for batch in three.batches] == [3, 3, 1]
    assert [len(batch) for batch in five.batches] == [5, 2]
    assert len(decoded) == len(set(decoded)) == 7
    assert {len(clip.frames) for batch in three.batches for clip in batch} == {2}
    assert {len(clip.frames) for batch in five.batches for clip in batch} == {4}
    assert three.prompts == five.prompts == rows["prompt"].tolist()
    first = [read_video(store.video(key)).frames[:2].mean() + len("prompt 0") for key in table["key"]]
    assert table["VQ"].tolist() == pytest.approx(first)


@pytest.mark.parametrize("size", [1, 3])
def test_no_more_is_made_ready_ahead_than_the_largest_batch_holds(
    many: Filmed, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    rows, manifest, store = many
    decoded: list[Path] = []
    monkeypatch.setattr(store_module, "read_video", lambda path: decoded.append(path) or read_video(path))

    class Watchful(Batched):
        def score(self, clips: Sequence[Clip], prompts: Sequence[str]) -> list[dict[str, float]]:
            time.sleep(0.05)  # time enough to decode all of them
            ahead.append(len(decoded) - len(self.prompts) - len(clips))
            return super().score(clips, prompts)

    ahead: list[int] = []
    score_shard(rows, [manifest], {"judge": Watchful(size)}, PAPER, store, "score")
    assert 0 < max(ahead) <= size and min(ahead) == 0


def test_a_clip_that_a_reward_refuses_is_named_and_what_waits_is_scored(many: Filmed) -> None:
    rows, manifest, store = many

    class Choosy(Batched):
        def prepare(self, clip: Clip, prompt: str) -> Any:
            if prompt == "prompt 4":
                raise ScoreError("too strange")
            return super().prepare(clip, prompt)

    choosy, other = Choosy(3, metrics=METRICS[:5]), Batched(7, metrics=METRICS[5:])
    with pytest.raises(ScoreError, match=r"/[0-9a-f]{32}\.mp4: too strange"):
        score_shard(rows, [manifest], {"choosy": choosy, "other": other}, PAPER, store, "score")
    assert choosy.prompts == rows["prompt"].tolist()[:4]
    assert other.prompts == rows["prompt"].tolist()[:5]
    assert cached(store) == 9


def test_a_killed_job_goes_on_after_its_last_batch(many: Filmed) -> None:
    rows, manifest, store = many

    class Mortal(Batched):
        def score(self, clips: Sequence[Clip], prompts: Sequence[str]) -> list[dict[str, float]]:
            if len(self.batches) == 2:
                raise KeyboardInterrupt
            return super().score(clips, prompts)

    with pytest.raises(KeyboardInterrupt):
        score_shard(rows, [manifest], {"judge": Mortal(2)}, PAPER, store, "score")
    assert cached(store) == 4
    again = Batched(2)
    table = score_shard(rows, [manifest], {"judge": again}, PAPER, store, "score")
    assert again.prompts == rows["prompt"].tolist()[4:]
    assert table["VQ"].notna().all()


def test_another_batch_size_finds_the_cached_scores(many: Filmed) -> None:
    rows, manifest, store = many
    first = score_shard(rows, [manifest], {"judge": Batched(2)}, PAPER, store, "score")
    again = Batched(5)
    pd.testing.assert_frame_equal(score_shard(rows, [manifest], {"judge": again}, PAPER, store, "score"), first)
    assert not again.batches


def test_a_reward_whose_scores_are_cached_is_never_loaded(many: Filmed) -> None:
    rows, manifest, store = many
    score_shard(rows, [manifest], {"judge": Batched(2)}, PAPER, store, "score")

    def load() -> Judge:
        raise AssertionError("loaded")

    assert score_shard(rows, [manifest], Judges({"judge": load}), PAPER, store, "score")["VQ"].notna().all()
    with pytest.raises(AssertionError, match="loaded"):
        score_shard(rows, [manifest], Judges({"other": load}), PAPER, store, "score")


def test_one_score_that_is_not_finite_keeps_the_rest_of_its_batch(many: Filmed) -> None:
    rows, manifest, store = many

    class Odd(Batched):
        """Cannot score the third prompt in a batch; alone it can from the time `cured` says."""

        def __init__(self, cured: bool) -> None:
            super().__init__(4)
            self.cured = cured

        def score(self, clips: Sequence[Clip], prompts: Sequence[str]) -> list[dict[str, float]]:
            scores = super().score(clips, prompts)
            for score, prompt in zip(scores, prompts, strict=True):
                if prompt == "prompt 2" and not (self.cured and len(clips) == 1):
                    score["MPS"] = math.inf
            return scores

    sick = Odd(cured=False)
    with pytest.raises(ScoreError, match=r"MPS is not a finite number, scored twice by Odd"):
        score_shard(rows, [manifest], {"judge": sick}, PAPER, store, "score")
    assert [len(batch) for batch in sick.batches] == [4, 1]
    assert cached(store) == 3
    healed = Odd(cured=True)
    table = score_shard(rows, [manifest], {"judge": healed}, PAPER, store, "score")
    assert [len(batch) for batch in healed.batches] == [4, 1]
    assert np.isfinite(table[list(METRICS)].to_numpy()).all()


def test_a_clip_that_cannot_be_judged_is_named_and_the_others_are_kept(many: Filmed) -> None:
    rows, manifest, store = many

    class Strict(Batched):
        def score(self, clips: Sequence[Clip], prompts: Sequence[str]) -> list[dict[str, float]]:
            if "prompt 1" in prompts:
                raise ScoreError("too strange")
            return super().score(clips, prompts)

    with pytest.raises(ScoreError, match=r"/[0-9a-f]{32}\.mp4: too strange"):
        score_shard(rows, [manifest], {"judge": Strict(4)}, PAPER, store, "score")
    assert cached(store) == 3


def test_what_was_decoded_before_a_damaged_video_is_scored(many: Filmed) -> None:
    rows, manifest, store = many
    keys = [entry.key for entry in read_manifest(manifest)]
    store.video(keys[5]).write_bytes(b"damaged")
    three, five = Batched(3, metrics=METRICS[:5]), Batched(8, metrics=METRICS[5:])
    with pytest.raises(ScoreError, match=rf"{keys[5]}\.mp4: the video is not the one that was filmed"):
        score_shard(rows, [manifest], {"three": three, "eight": five}, PAPER, store, "score")
    assert [len(batch) for batch in three.batches] == [3, 2]
    assert [len(batch) for batch in five.batches] == [5]
    assert cached(store) == 10


def test_shards_scored_together_give_the_same_scores_and_lose_one_manifest_to_damage(many: Filmed) -> None:
    rows, manifest, store = many
    whole = score_shard(rows, [manifest], {"judge": Batched(4)}, PAPER, store, "score")
    parts, manifests = [], []
    for number, shard in enumerate(shard_names(3)):
        parts.append(shard_rows(rows, shard))
        manifests.append(manifest.with_name(f"part-{number}.jsonl"))
        film_shard(parts[-1], Painter(videos=0), store, manifests[-1], "film")
    together = pd.concat(parts, ignore_index=True)
    shutil.rmtree(store.folder / "scores")
    scores = score_shard(together, manifests, {"judge": Batched(4)}, PAPER, store, "score")
    order = ["prompt_id", "candidate", "replicate"]
    pd.testing.assert_frame_equal(
        scores.sort_values(order, ignore_index=True), whole.sort_values(order, ignore_index=True), check_exact=True
    )
    shutil.rmtree(store.folder / "scores")
    store.video(read_manifest(manifests[1])[0].key).write_bytes(b"damaged")
    with pytest.raises(ScoreError, match="not the one that was filmed"):
        score_shard(together, manifests, {"judge": Batched(4)}, PAPER, store, "score")
    assert [path.exists() for path in manifests] == [True, False, True]


def test_rows_that_share_a_video_and_a_prompt_are_scored_once(tmp_path: Path) -> None:
    rows = prompts_table({"a box": ["a box", "a box", "a sharp box"]})
    store = Store(tmp_path / "store", "painter")
    film_shard(rows, Painter(), store, tmp_path / "0000.jsonl", "film")
    judge = Batched(8)
    table = score_shard(rows, [tmp_path / "0000.jsonl"], {"judge": judge}, PAPER, store, "score")
    assert [len(batch) for batch in judge.batches] == [2]
    assert table["VQ"][0] == table["VQ"][1] != table["VQ"][2]


def test_the_papers_three_rewards_fill_the_table_together(
    many: Filmed, reward_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, manifest, store = many
    monkeypatch.chdir(Path(__file__).parents[1])
    sizes = {"videoscore": 4, "aesthetic": 3, "mps": 8}
    configs = {name: judge_config(name, batch_size=size) for name, size in sizes.items()}
    whole = score_shard(rows, [manifest], load_judges(configs, reward_models), PAPER, store, "score")
    assert np.isfinite(whole[list(METRICS)].to_numpy()).all()
    assert whole[list(METRICS)].round(5).nunique().min() == 7

    shutil.rmtree(store.folder / "scores")
    parts = []
    for number, shard in enumerate(shard_names(3)):  # other shards give the same scores to the bit
        part = shard_rows(rows, shard)
        film_shard(part, Painter(videos=0), store, manifest.with_name(f"{number}.jsonl"), "film")
        parts.append(
            score_shard(
                part, [manifest.with_name(f"{number}.jsonl")], load_judges(configs, reward_models), PAPER, store, "s"
            )
        )
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole, check_exact=True)


def test_gather_follows_the_prompts_table_and_adds_the_five_scale(filmed: Filmed, tmp_path: Path) -> None:
    rows, manifest, store = filmed
    found = score_shard(rows, [manifest], {"judge": Critic()}, PAPER, store, "score")
    table = gather(rows, [found.iloc[3:], found.iloc[:3].iloc[::-1]], PAPER)
    pd.testing.assert_frame_equal(table[list(rows.columns)], rows)
    assert table["key"].tolist() == found["key"].tolist()
    assert table["AES_5"].tolist() == pytest.approx((found["AES"] * 5 / 8).tolist())
    assert table["MPS_5"].tolist() == pytest.approx((found["MPS"] / 4).tolist())
    assert table["VQ_5"].tolist() == found["VQ"].tolist()
    write_table(table, tmp_path / "scores.parquet", SCORES)


def test_gather_names_the_first_row_without_rewards(filmed: Filmed) -> None:
    rows, manifest, store = filmed
    found = score_shard(rows, [manifest], {"judge": Critic()}, PAPER, store, "score")
    with pytest.raises(InputError, match=r"'prompt_id': 'pa box', 'candidate': 0.*and 1 more rows"):
        gather(rows, [found.iloc[:2]], PAPER)


def test_an_empty_shard_goes_through_the_schemas(filmed: Filmed, tmp_path: Path) -> None:
    rows, manifest, store = filmed
    nothing = shard_rows(rows, "0001-of-0003")
    film_shard(nothing, Painter(videos=0), store, tmp_path / "0005.jsonl", "film")
    judge = Critic()
    empty = score_shard(nothing, [tmp_path / "0005.jsonl"], {"judge": judge}, PAPER, store, "score")
    assert not judge.prompts and len(empty) == 0
    write_table(empty, tmp_path / "empty.parquet", REWARDS)
    write_table(
        score_shard(rows, [manifest], {"judge": judge}, PAPER, store, "score"), tmp_path / "full.parquet", REWARDS
    )
    shards = [read_table(tmp_path / f"{name}.parquet", REWARDS) for name in ("empty", "full", "empty")]
    table = gather(rows, shards, PAPER)
    write_table(table, tmp_path / "scores.parquet", SCORES)
    assert len(read_table(tmp_path / "scores.parquet", SCORES)) == len(rows)
    write_table(gather(nothing, shards[:1], PAPER), tmp_path / "scores.parquet", SCORES)
