import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from promptavideo.config import Config, check
from promptavideo.estimate import Estimate, Row, announce, as_reference, as_table, describe, probe_here
from promptavideo.generators.diffusers_config import DiffusersConfig
from promptavideo.layout import REWARDS
from promptavideo.operators.ledger import Ledger, Prices
from promptavideo.probe import Asked, Probe, Speed, Work
from promptavideo.runs import Job, Run
from promptavideo.store import Entry, write_manifest
from promptavideo.study import Study
from promptavideo.timing import Timing
from promptavideo.vbench.evaluate import Judged, Result, write_result

ROOT = Path(__file__).parent.parent
START, LOAD = 3, 10  # seconds of a job beside its work, by default
RAW = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))


def config(**changes: Any) -> Config:
    """The repository's configuration at 10 s a video, 2 a GPU-hour and given epochs; its operator charges."""
    raw = copy.deepcopy(RAW)
    raw["generators"]["mini-t2v"]["seconds_per_video"] = 10.0
    raw["planning"] = {"gpu_hour_price": 2.0, "seconds_per_score": 2.0, "request_tokens": 1000, "answer_tokens": 500}
    raw["booster"]["sft"]["epochs"], raw["booster"]["dpo"]["epochs"] = 6, 3
    raw["operators"]["paid"] = {
        "kind": "chat", "base_url": "http://localhost", "model": "m", "key_variable": "KEY", "max_tokens": 100,
        "prices": {"prompt": 1.0, "completion": 2.0},
    }  # fmt: skip
    raw["evolution"]["operator"] = "paid"
    return check(raw | changes, ROOT)


def record(path: Path, items: int, seconds: float, job_seconds: float) -> None:
    """What a job recorded."""
    path.write_text(json.dumps(asdict(Timing(items, seconds, job_seconds))))


def estimate(settings: Config, root: Path, speed: Speed | None = None) -> Estimate:
    """Of results in a folder that the prompt files are in too."""
    return Estimate(Study(settings, root), root, speed)


def rows(root: Path, settings: Config) -> dict[str, Row]:
    # Prompt files are read below the root that results are read from.
    for name in ("resources", "templates"):
        if not (root / name).exists():
            (root / name).symlink_to(ROOT / name)
    return {row.stage: row for row in estimate(settings, root).rows("mini-t2v")}


def test_nothing_done_costs_everything(tmp_path: Path) -> None:
    found = rows(tmp_path, config())
    first, later = found["evolution/round-0 film"], found["evolution/round-1 film"]
    assert (first.videos, first.videos_done, later.videos) == (60, 0, 180)
    assert (first.jobs, first.jobs_done) == (2, 0)  # of 50 prompts at most, as config.yaml says
    assert first.gpu_hours_to_do == pytest.approx((60 * 10 + 2 * LOAD) / 3600)
    assert later.money_to_do == pytest.approx((180 * 10 + 2 * LOAD) / 3600 * 2)
    assert found["evolution/round-1 score"].gpu_hours_to_do == pytest.approx((180 * 2 + 2 * START) / 3600)
    asked = found["evolution/round-1 ask paid"]
    assert (asked.requests, asked.requests_done, asked.tokens_to_do) == (60, 0, 60 * 1500)
    assert asked.money_to_do == pytest.approx(60 * (1000 * 1 + 500 * 2) / 1e6)
    assert found["evaluation/heldout/llm ask recombine"].money_to_do == 0  # an operator that charges nothing
    assert found["dpo-1 film"].videos == 300 and found["evaluation/heldout/dpo-2 film"].videos == 200
    assert found["dpo-1 sample"].gpu_hours_to_do == pytest.approx((300 + LOAD) / 3600)
    assert found["sft train"].gpu_hours_to_do == pytest.approx((60 * 6 + LOAD) / 3600)


def test_what_is_done_is_not_to_do(tmp_path: Path) -> None:
    batch = tmp_path / "results/mini-t2v/evolution/round-1"
    entries = [Entry(f"p{i}", 1, 0, f"k{i}", "s", 8, 8.0) for i in range(90)]
    (batch / "videos").mkdir(parents=True)
    write_manifest(entries, batch / "videos/0001-of-0002.jsonl")
    (batch / "prompts.parquet").touch()
    (tmp_path / "results/mini-t2v/boosters/sft").mkdir(parents=True)
    (tmp_path / "results/mini-t2v/boosters/sft/booster.json").touch()
    found = rows(tmp_path, config())
    film = found["evolution/round-1 film"]
    assert (film.videos, film.videos_done) == (180, 90)
    assert (film.jobs, film.jobs_done) == (2, 1)
    assert film.gpu_hours_to_do == pytest.approx((90 * 10 + LOAD) / 3600)
    asked = found["evolution/round-1 ask paid"]
    assert (asked.requests_done, asked.tokens_to_do, asked.tokens_done) == (60, 0, 60 * 1500)
    assert (asked.money_to_do, asked.money_done) == pytest.approx((0, 60 * (1000 * 1 + 500 * 2) / 1e6))
    assert found["sft train"].gpu_hours_to_do == 0 and found["dpo-1 train"].gpu_hours_to_do > 0


def test_what_is_done_took_what_its_jobs_recorded(tmp_path: Path) -> None:
    results, benchmarks = tmp_path / "results/mini-t2v", tmp_path / "benchmarks"
    for kind, seconds in (("videos", 1800.0), ("rewards", 360.0)):
        (results / "dpo-1" / kind).mkdir(parents=True)
        record(results / "dpo-1" / kind / "0001-of-0002.timing.json", 90, seconds, seconds + 36)
    for stage in ("sft", "dpo-1"):
        (results / "boosters" / stage).mkdir(parents=True)
        (results / "boosters" / stage / "booster.json").touch()
    (results / "dpo-1/prompts.parquet").touch()
    (results / "evaluation/heldout/sft").mkdir(parents=True)
    (results / "evaluation/heldout/sft/prompts.parquet").touch()
    for path, seconds in (("train/mini-t2v/sft", 7200), ("candidates/mini-t2v/dpo-1", 720)):
        (benchmarks / path).parent.mkdir(parents=True)
        (benchmarks / f"{path}.tsv").write_text(f"s\th:m:s\tmax_rss\n{seconds}.5\t2:00:00\t9\n")
    (benchmarks / "refine/mini-t2v/evaluation/heldout").mkdir(parents=True)
    (benchmarks / "refine/mini-t2v/evaluation/heldout/sft.tsv").write_text("s\n36\n")
    found = rows(tmp_path, config())
    assert found["dpo-1 film"].gpu_hours_done == pytest.approx(0.51), "with imports and loading"
    assert found["dpo-1 film"].money_done == pytest.approx(1.02)
    assert found["dpo-1 score"].gpu_hours_done == pytest.approx(0.11)
    (benchmarks / "score/mini-t2v/dpo-1/rewards").mkdir(parents=True)
    (benchmarks / "score/mini-t2v/dpo-1/rewards/0001-of-0002.tsv").write_text("s\n414\n")
    score = rows(tmp_path, config())["dpo-1 score"]
    assert score.gpu_hours_done == pytest.approx(414 / 3600), "with the end of the process"
    assert score.gpu_hours_to_do == pytest.approx((210 * 4 + 2 * 54) / 3600)
    assert found["evolution/round-0 film"].gpu_hours_done == 0
    assert found["sft train"].gpu_hours_done == pytest.approx(7200.5 / 3600)
    assert found["dpo-1 sample"].gpu_hours_done == pytest.approx(720.5 / 3600)
    assert found["evaluation/heldout/sft sample"].gpu_hours_done == pytest.approx(0.01)
    assert found["dpo-1 train"].gpu_hours_done == pytest.approx((60 * 3 + LOAD) / 3600), "without a record: as expected"
    assert found["dpo-2 train"].gpu_hours_done == 0


def test_what_operators_took_is_told_by_their_ledger(tmp_path: Path) -> None:
    prices = Prices(prompt=1.0, completion=2.0)
    settings, ledger = config(), Ledger(tmp_path / "store/chat/ledger.jsonl", "operators.paid", prices)
    found = as_table(rows(tmp_path, settings).values())
    assert "operators." not in describe(found, estimate(settings, tmp_path), settings)
    for _ in range(2):
        ledger.settle(ledger.ask(2_000_000, 100), 1_000_000, 500_000)
    said = describe(found, estimate(settings, tmp_path), settings)
    assert "operators.paid: took 2 requests, 3,000,000 tokens and 4.00 USD so far" in said


def test_a_gathered_round_has_the_videos_it_has(tmp_path: Path) -> None:
    batch = tmp_path / "results/mini-t2v/evolution/round-2"
    (batch / "videos").mkdir(parents=True)
    write_manifest(
        [Entry(f"p{i}", 1, 0, f"k{i}", "s", 8, 8.0) for i in range(170)], batch / "videos/0001-of-0001.jsonl"
    )
    (batch / "rewards").mkdir()
    (batch / "rewards/scores.parquet").touch()
    film = rows(tmp_path, config())["evolution/round-2 film"]
    assert (film.videos, film.videos_done, film.gpu_hours_to_do) == (170, 170, 0)


def test_a_set_for_vbench_alone_is_filmed_and_not_scored(tmp_path: Path) -> None:
    evaluation = copy.deepcopy(RAW["evaluation"])
    evaluation["sets"]["more"] = evaluation["sets"]["heldout"] | {"rewards": False}
    found = rows(tmp_path, config(evaluation=evaluation))
    assert "evaluation/heldout/sft score" in found and "evaluation/more/sft score" not in found


def test_a_video_that_two_sets_show_counts_once(tmp_path: Path) -> None:
    evaluation = copy.deepcopy(RAW["evaluation"])
    evaluation["sets"]["more"] = evaluation["sets"]["heldout"] | {"prompts": "few", "replicates": 3, "rewards": False}
    few = copy.deepcopy(RAW["prompt_sets"]["heldout"]) | {"count": 40}
    settings = config(evaluation=evaluation, prompt_sets=RAW["prompt_sets"] | {"few": few})
    found = rows(tmp_path, settings)
    assert found["evaluation/heldout/sft film"].videos == 200
    more = found["evaluation/more/sft film"]
    assert (more.videos, more.jobs) == (40, 1), "the third of its replicates alone"
    assert more.gpu_hours_to_do == pytest.approx((40 * 10 + LOAD) / 3600)
    # The same once the smaller set is filmed, which then has all of its videos.
    batch = tmp_path / "results/mini-t2v/evaluation/more/sft"
    (batch / "videos").mkdir(parents=True)
    entries = [Entry(f"p{i}", 0, k, f"k{i}-{k}", "s", 8, 8.0) for i in range(40) for k in range(3)]
    write_manifest(entries, batch / "videos/0001-of-0001.jsonl")
    found = rows(tmp_path, settings)
    assert (found["evaluation/more/sft film"].videos, found["evaluation/more/sft film"].videos_done) == (120, 120)
    assert (found["evaluation/heldout/sft film"].videos, found["evaluation/heldout/sft film"].videos_done) == (120, 0)


def test_the_jobs_of_vbench_are_planned(tmp_path: Path) -> None:
    settings = config(vbench=RAW["vbench"] | {"shard_size": 50})
    rows(tmp_path, settings)
    study = Study(settings, tmp_path)
    plan, batch = study.vbench, study.batch("mini-t2v", "evaluation/heldout/sft")
    judged = plan.set_of(batch).names
    row = rows(tmp_path, settings)["evaluation/heldout/sft vbench"]
    assert (row.jobs, row.jobs_done) == (len(judged) * 4, 0)  # 100 prompts x 2 replicates, 50 videos a job
    assert row.jobs == len(plan.results(batch))
    assert judged == ["temporal_flickering"] and not plan.checkpoints_of(*judged)
    assert row.gpu_hours_to_do == pytest.approx((200 * 1 + 4 * START) / 3600)
    assert estimate(settings, tmp_path).judging(batch, "temporal_flickering") == 50 * 1 + START
    network = config(
        vbench=RAW["vbench"], evaluation=json.loads(json.dumps(RAW["evaluation"]).replace(judged[0], "imaging_quality"))
    )
    assert estimate(network, tmp_path).judging(batch, "imaging_quality") == 100 * 1 + LOAD
    done = tmp_path / plan.results(batch)[0]
    done.parent.mkdir(parents=True)
    videos = tuple(Judged(row, f"p{row}", 0, "k", 1.0, 1) for row in range(50))
    write_result(Result(judged[0], 1.0, videos, {}, "cpu", 20.0), done)
    took = tmp_path / f"benchmarks/vbench_dimension/mini-t2v/{batch.name}/{judged[0]}/0001-of-0004.tsv"
    took.parent.mkdir(parents=True)
    took.write_text("s\n72\n")
    row = rows(tmp_path, settings)["evaluation/heldout/sft vbench"]
    assert (row.jobs_done, row.gpu_hours_done) == pytest.approx((1, 0.02))
    assert row.gpu_hours_to_do == pytest.approx(3 * 72 / 3600), "what it took replaces what is expected"
    assert estimate(settings, tmp_path).as_planning("mini-t2v")["seconds_per_judgement"] == 0.4


def test_a_set_without_scores_has_nothing_to_do_once_it_is_filmed(tmp_path: Path) -> None:
    evaluation = copy.deepcopy(RAW["evaluation"])
    evaluation["sets"]["more"] = evaluation["sets"]["heldout"] | {"replicates": 1, "rewards": False}
    evaluation["sets"]["heldout"] |= {"prompts": "few"}
    few = {"file": "resources/prompts/miniature-heldout.txt", "first": 99, "count": 1}
    settings = config(evaluation=evaluation, prompt_sets=RAW["prompt_sets"] | {"few": few})
    for refiner, texts in (("original", 0), ("sft", 90)):  # sft left ten prompts as they were
        folder = tmp_path / "results/mini-t2v/evaluation/more" / refiner / "videos"
        folder.mkdir(parents=True)
        entries = [Entry(f"p{i}", 0, 0, f"k{i}" if i >= texts else f"{refiner}{i}", "s", 8, 8.0) for i in range(100)]
        write_manifest(entries[:50], folder / "0001-of-0002.jsonl")
        write_manifest(entries[50:], folder / "0002-of-0002.jsonl")
    films = [rows(tmp_path, settings)[f"evaluation/more/{refiner} film"] for refiner in ("original", "sft")]
    assert sorted((film.videos, film.videos_done) for film in films) == [(90, 90), (100, 100)]
    assert [film.gpu_hours_to_do for film in films] == [0, 0]


def test_a_job_is_not_expected_to_film_what_another_set_films(tmp_path: Path) -> None:
    evaluation = copy.deepcopy(RAW["evaluation"])
    evaluation["sets"]["more"] = evaluation["sets"]["heldout"] | {"replicates": 3, "rewards": False}
    rows(tmp_path, settings := config(evaluation=evaluation, shard_size=40))
    study, found = Study(settings, tmp_path), estimate(settings, tmp_path)
    heldout, more = (study.batch("mini-t2v", f"evaluation/{name}/sft") for name in ("heldout", "more"))
    assert len(study.shards(heldout)) == 3
    assert found.videos(heldout, 1) == pytest.approx(200 / 3) and found.videos(heldout, 3) == 200
    assert found.videos(more, 1) == pytest.approx(100 / 3)
    assert found.videos(heldout, 1, REWARDS) == pytest.approx(200 / 3)
    assert found.videos(study.pilot("mini-t2v"), 1) == 8


def test_a_track_that_compares_no_booster_evolves_nothing(tmp_path: Path) -> None:
    found = rows(tmp_path, config(evaluation=RAW["evaluation"] | {"refiners": ["original", "llm"]}))
    assert {stage.split("/")[0] for stage in found} == {"evaluation"}


def test_judges_that_only_report_are_planned(tmp_path: Path) -> None:
    settings = config()
    found = rows(tmp_path, settings)
    witness, fidelity = (found[f"evaluation/heldout/sft score by {name}"] for name in ("witness", "fidelity"))
    assert (witness.jobs, fidelity.jobs) == (2, 1), "texts alone are one job"
    assert witness.gpu_hours_to_do == pytest.approx((200 * 2 + 2 * LOAD) / 3600)
    assert "evolution/round-0 score by witness" not in found
    batch = tmp_path / "results/mini-t2v/evaluation/heldout/sft/witness"
    batch.mkdir(parents=True)
    record(batch / "0001-of-0002.timing.json", 100, 50.0, 60.0)
    (batch / "0001-of-0002.parquet").touch()
    witness = rows(tmp_path, settings)["evaluation/heldout/sft score by witness"]
    assert (witness.jobs_done, witness.gpu_hours_done) == pytest.approx((1, 60 / 3600))
    assert witness.gpu_hours_to_do == pytest.approx((100 * 0.5 + 10) / 3600), "by its own speed"
    assert estimate(settings, tmp_path).score("mini-t2v") == 2, "which says nothing of the rewards"


def test_a_booster_that_tracks_share_is_trained_once_on_the_data_of_all(tmp_path: Path) -> None:
    shared = {"sft": {"tracks": ["mini-t2v", "other"]}, "dpo-1": {"tracks": ["mini-t2v", "other"]}, "dpo-2": None}
    generators = {name: RAW["generators"]["mini-t2v"] for name in ("mini-t2v", "other")}
    evaluation = RAW["evaluation"] | {"refiners": ["original", "dpo-1"]}
    refiners = {name: entry for name, entry in RAW["refiners"].items() if name != "dpo-2"}
    settings = config(generators=generators, boosters=shared, evaluation=evaluation, refiners=refiners)
    first = rows(tmp_path, settings)
    second = {row.stage: row for row in estimate(settings, tmp_path).rows("other")}
    assert first["sft train"].gpu_hours_to_do == pytest.approx((2 * 60 * 6 + LOAD) / 3600)
    assert "sft train" not in second and "dpo-1 train" not in second
    assert second["dpo-1 sample"].gpu_hours_to_do == pytest.approx((300 + LOAD) / 3600), "each draws its own candidates"


def test_slices_of_a_source_share_videos_and_answers_before_it_is_read(tmp_path: Path) -> None:
    sets = RAW["prompt_sets"] | {
        "first": {"source": "captions", "first": 0, "count": 30},
        "second": {"source": "captions", "first": 20, "count": 20},
    }
    shown: dict[str, Any] = {name: {"prompts": name} for name in ("first", "second")}
    evaluation = {"sets": shown, "refiners": ["original", "paid", "sft"]}
    source = {"captions": {"kind": "hub", "repo_id": "a/b", "revision": "unpinned", "files": ["*.csv"], "column": "c"}}
    refiners = RAW["refiners"] | {"paid": {"kind": "llm", "operator": "paid"}}
    generators = {name: RAW["generators"]["mini-t2v"] for name in ("mini-t2v", "other")}
    settings = config(
        prompt_sets=sets, prompt_sources=source, evaluation=evaluation, refiners=refiners, generators=generators,
        vbench={},
    )  # fmt: skip
    found = rows(tmp_path, settings)
    assert [found[f"evaluation/{name}/original film"].videos for name in shown] == [30, 10]
    asked = [found[f"evaluation/{name}/paid ask paid"] for name in ("first", "second")]
    assert [(row.requests, row.jobs) for row in asked] == [(30, 1), (10, 1)]
    other = {row.stage: row for row in estimate(settings, tmp_path).rows("other")}
    assert other["evaluation/first/paid ask paid"].requests == 0, "answers are kept for all generators"
    assert other["evolution/round-1 ask paid"].requests == 60, "which ask for variants of their own prompts"
    assert (other["evaluation/first/original copy"].jobs, other["evaluation/first/original film"].videos) == (1, 30)


def test_a_pilot_replaces_what_is_expected(tmp_path: Path) -> None:
    for kind, seconds in (("videos", 24.0), ("rewards", 4.0)):
        folder = tmp_path / "results/mini-t2v/pilot" / kind
        folder.mkdir(parents=True)
        record(folder / "0001-of-0002.timing.json", 8, seconds, seconds + 6)
        record(folder / "0002-of-0002.timing.json", 0, 0.0, 2)  # a job that found everything done says nothing
    entries = [Entry(f"p{i}", 0, 0, f"k{i}", "s", 8, 8.0) for i in range(8)]
    write_manifest(entries, tmp_path / "results/mini-t2v/pilot/videos/0001-of-0001.jsonl")
    settings = config()
    found = rows(tmp_path, settings)
    film, score = found["evolution/round-0 film"], found["evolution/round-0 score"]
    assert (film.videos, film.videos_done) == (60, 8), "the round finds the pilot's"
    assert (film.gpu_hours_to_do, film.gpu_hours_done) == pytest.approx(((52 * 3 + 2 * 6) / 3600, 30 / 3600))
    assert (score.gpu_hours_to_do, score.gpu_hours_done) == pytest.approx(((52 * 0.5 + 2 * 6) / 3600, 10 / 3600))
    text = describe(as_table(found.values()), estimate(settings, tmp_path), settings)
    assert "3.00 s a video (measured, 8 on" in text and "0.50 s a score (measured" in text
    assert "expected" not in text


def test_the_table_ends_each_generator_with_its_total(tmp_path: Path) -> None:
    settings = config()
    found = rows(tmp_path, settings)
    table = as_table(found.values())
    total = table.iloc[-1]
    assert (total["generator"], total["stage"]) == ("mini-t2v", "total")
    assert total["videos"] == sum(row.videos for row in found.values())
    assert total["money_to_do"] == pytest.approx(sum(row.money_to_do for row in found.values()))
    assert "10 s a video (expected; `snakemake pilot` measures it)" in describe(
        table, estimate(settings, tmp_path), settings
    )


def test_a_hosted_model_costs_money_and_no_gpu(tmp_path: Path) -> None:
    entry = {
        "kind": "openai-video", "base_url": "https://studio.example/v1", "model": "dream-1", "size": "1280x720",
        "seconds": 4, "price_per_second": 0.1, "seconds_per_video": 90.0,
    }  # fmt: skip
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    settings = config(generators={"sora": entry})
    found = {row.stage: row for row in estimate(settings, tmp_path).rows("sora")}
    film, score = found["evolution/round-0 film"], found["evolution/round-0 score"]
    assert (film.gpu_hours_to_do, film.money_to_do) == pytest.approx((0, 60 * 0.4))
    assert score.gpu_hours_to_do == pytest.approx((60 * 2 + 2 * START) / 3600)
    batch = tmp_path / "results/sora/evolution/round-0"
    for kind, seconds in (("videos", 3600.0), ("rewards", 720.0)):
        (batch / kind).mkdir(parents=True)
        record(batch / kind / "0001-of-0002.timing.json", 60, seconds, seconds)
    write_manifest([Entry(f"p{i}", 0, 0, f"k{i}", "s", 8, 8.0) for i in range(60)], batch / "videos/0001-of-0001.jsonl")
    film = {row.stage: row for row in estimate(settings, tmp_path).rows("sora")}["evolution/round-0 film"]
    assert (film.gpu_hours_done, film.money_done) == pytest.approx((0, 60 * 0.4))


SLOWER = Speed({"mini-t2v": 20.0}, training=3.0, plain=1.5)


def test_a_slower_machine_takes_longer(tmp_path: Path) -> None:
    rows(tmp_path, settings := config())
    here, there = (estimate(settings, tmp_path, speed) for speed in (SLOWER, None))
    assert (here.video("mini-t2v"), there.video("mini-t2v")) == (200, 10)
    assert (here.score("mini-t2v"), here.text, here.start) == (3, 3, 4.5)
    sft, dpo = (Study(settings, tmp_path).booster(name, "mini-t2v") for name in ("sft", "dpo-2"))
    assert (here.training(sft), here.training(dpo)) == (60 * 6 * 3, 60 * 3 * 3)
    films = {row.stage: row for row in here.rows("mini-t2v")}
    assert films["evolution/round-0 film"].gpu_hours_to_do == pytest.approx((60 * 200 + 2 * LOAD * 1.5) / 3600)
    assert films["dpo-1 sample"].gpu_hours_to_do == pytest.approx((300 * 3 + LOAD * 1.5) / 3600)
    text = describe(as_table(films.values()), here, settings)
    assert "200 s a video (expected for 10 on the reference machine; `snakemake pilot` measures it)" in text


def test_what_was_measured_here_is_not_scaled(tmp_path: Path) -> None:
    rows(tmp_path, settings := config())
    folder = tmp_path / "results/mini-t2v/pilot/videos"
    folder.mkdir(parents=True)
    record(folder / "0001-of-0002.timing.json", 8, 24.0, 30.0)
    assert estimate(settings, tmp_path, SLOWER).video("mini-t2v") == 3


def test_a_shard_has_the_videos_of_its_prompts(tmp_path: Path) -> None:
    rows(tmp_path, settings := config(shard_size=25))
    study, found = Study(settings, tmp_path), estimate(settings, tmp_path)
    later = study.batch("mini-t2v", "evolution/round-1")
    assert (len(study.shards(later)), found.videos(later, 1)) == (3, 60)
    batches = [study.batch("mini-t2v", name) for name in ("dpo-1", "evaluation/heldout/sft")]
    assert [found.texts(batch) for batch in batches] == [300, 100]


def test_a_machine_is_probed_only_against_a_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Asked] = []

    def run(what: Asked, root: Path) -> Probe:
        asked.append(what)
        return Probe({"mini-t2v": 0.04}, 0.3, 0.1, {})

    monkeypatch.setattr("promptavideo.probe.run", run)
    settings = config()
    assert probe_here(settings, ROOT, ["mini-t2v"]) is None and not asked
    assert Speed.of(None, settings.planning.reference) == Speed()
    planning = {"reference": {"filming": 0.02, "training": 0.1, "plain": 0.1}}
    settings = config(planning=planning)
    found = Speed.of(probe_here(settings, ROOT, ["mini-t2v"]), settings.planning.reference)
    assert found.filming == {"mini-t2v": 2} and found.training == pytest.approx(3)
    work = settings.generators["mini-t2v"]
    assert isinstance(work, DiffusersConfig)
    assert asked == [
        Asked(
            {"mini-t2v": Work(work.dtype, work.threads, work.device)},
            Work(settings.booster.dtype, settings.booster.threads, settings.booster.device),
        )
    ]


def test_a_finished_run_gives_the_planning_numbers_of_its_machine(tmp_path: Path) -> None:
    settings = config(planning={"reference": {"filming": 0.02, "training": 0.1, "plain": 0.1}})
    rows(tmp_path, settings)
    assert "planning numbers" not in describe(
        as_table(rows(tmp_path, settings).values()), estimate(settings, tmp_path), settings
    )
    results = tmp_path / "results/mini-t2v"
    for kind, seconds in (("videos", 40.0), ("rewards", 8.0)):
        (results / "dpo-1" / kind).mkdir(parents=True)
        record(results / "dpo-1" / kind / "0001-of-0002.timing.json", 80, seconds, seconds + 6)
    took = {
        "gather/mini-t2v/dpo-1/rewards": 0.75, "candidates/mini-t2v/dpo-1": 66,
        "train/mini-t2v/sft": 6 + 50 * 6, "train/mini-t2v/dpo-1": 6 + 40 * 3 * 2,
        "train/mini-t2v/dpo-2": 6 + 10 * 3 * 2,
    }  # fmt: skip
    for job, seconds in took.items():
        path = tmp_path / f"benchmarks/{job}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\n{seconds}\n")
    for stage, examples in (("sft", 50), ("dpo-1", 40), ("dpo-2", 10)):
        (results / "boosters" / stage).mkdir(parents=True)
        (results / "boosters" / stage / "booster.json").write_text(json.dumps({"examples": examples}))
    found = estimate(settings, tmp_path)
    assert found.as_planning("mini-t2v") == pytest.approx(
        {
            "seconds_per_video": 0.5, "seconds_per_job": 0.75, "seconds_per_load": 6, "seconds_per_score": 0.1,
            "seconds_per_text": 0.2, "seconds_per_example": 1, "seconds_per_triple": 2,
        }
    )  # fmt: skip
    assert {*found.as_planning("mini-t2v")} - {"seconds_per_video"} <= {*type(settings.planning).model_fields}
    text = describe(as_table(found.rows("mini-t2v")), found, settings)
    assert "planning numbers of this machine by mini-t2v: seconds_per_video: 0.5, seconds_per_job: 0.75, " in text
    measured = Probe({"mini-t2v": 0.0123, "other": 0.5}, 0.0456, 0.017)
    assert as_reference(measured).endswith(": filming: 0.012, training: 0.046, plain: 0.017")


def test_what_a_run_should_take_is_said_by_part_and_in_all() -> None:
    mini = "mini-t2v"
    jobs = (
        Job("a.log", "film", (mini, "evaluation"), "filming", 60.0, 1, ()),
        Job("b.log", "film", (mini, "evolution"), "filming", 120.0, 1, ()),
        Job("c.log", "film", (mini, "evolution"), "filming", 120.0, 1, ()),
        Job("d.log", "train", (mini, "sft"), "training", 7200.0, 2, (1, 2)),
        Job("e.log", "fetch", ("", "inputs, tables and report"), "fetch", None, 1, ()),
        Job("f.log", "report", ("", "inputs, tables and report"), "light", 3.0, 1, (0, 3)),
        Job("", "all", ("", "inputs, tables and report"), "light", 0.0, 1, (5,)),
    )
    measured = Probe({mini: 0.6}, 0.11, 0.1, {mini: "bfloat16", "training": "float32"})
    text = announce(Run(2, jobs), config(), Speed({mini: 30.0}, 1.1, 1.0), measured)
    assert text.splitlines() == [
        "This run should take about 2.1 h on 2 cores, by a probe of this machine:",
        "  mini-t2v: evolution 2 min, sft 2.0 h, evaluation 60 s",
        "  inputs, tables and report 3 s",
        "  mini-t2v films in bfloat16, which takes 30.0 times as long as on the reference machine; bfloat16",
        "    seems to be emulated here, generators.mini-t2v.dtype: auto would take float32",
        "  boosters train in float32, which takes 1.1 times as long as on the reference machine",
        "  not counted, as it depends on more than this machine: fetch (1)",
    ]
    assert all(len(line) <= 100 for line in text.splitlines())
    unprobed = announce(Run(1, jobs[:1]), config(), Speed(), None)
    assert unprobed.splitlines() == [
        "This run should take about 60 s on 1 core, by the configuration's numbers:",
        "  mini-t2v: evaluation 60 s",
    ]
