import json
import logging
import multiprocessing
import time
from pathlib import Path

import pytest

from promptavideo import runs
from promptavideo.progress import Progress
from promptavideo.runs import Job, Run, makespan


def job(name: str, seconds: float | None, *after: int, cores: int = 1, kind: str = "filming", stage: str = "") -> Job:
    return Job(f"logs/{name}.log", stage or name, ("mini", "evolution"), kind, seconds, cores, after)


def left(run: Run) -> dict[int, float]:
    return {place: one.seconds or 0.0 for place, one in enumerate(run.jobs)}


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("promptavideo.runs.time.time", lambda: self.now)
        monkeypatch.setattr("promptavideo.progress.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def begun(folder: Path, monkeypatch: pytest.MonkeyPatch, *jobs: Job, cores: int = 2) -> Path:
    """A run whose record the environment names."""
    path = folder / "run.json"
    runs.begin(Run(cores, jobs), path)
    monkeypatch.setenv(runs.VARIABLE, str(path))
    return path


class TestMakespan:
    def test_jobs_share_the_cores(self) -> None:
        jobs = [job(f"film-{number}", 10) for number in range(5)]
        assert makespan(jobs, left(Run(2, tuple(jobs))), 2) == 30
        assert makespan(jobs, left(Run(8, tuple(jobs))), 8) == 10

    def test_a_job_waits_for_others_and_for_its_cores(self) -> None:
        jobs = [job("film", 10), job("train", 7, 0, cores=2), job("score", 5), job("last", 1, 1, 2)]
        assert makespan(jobs, left(Run(2, tuple(jobs))), 2) == 18
        assert makespan(jobs, left(Run(1, tuple(jobs))), 1) == 23, "who wants more cores than there are gets all"

    def test_what_is_done_counts_no_more_and_what_runs_goes_on(self) -> None:
        jobs = [job("film", 10), job("train", 7, 0, cores=2), job("more", 4)]
        assert makespan(jobs, {1: 7.0, 2: 4.0}, 2, running={2}) == 11
        assert makespan(jobs, {1: 7.0, 2: 4.0}, 2) == 11, "the wide one goes first"
        assert makespan(jobs, {}, 2) == 0

    def test_a_large_run_takes_milliseconds(self) -> None:
        films = [job(f"film-{number}", 10.0) for number in range(1700)]
        scores = [job(f"score-{number}", 1.0, number) for number in range(1700)]
        jobs = [*films, *scores, job("gather", 1.0, *range(1700, 3400))]
        seconds = left(Run(4, tuple(jobs)))
        began = time.thread_time()
        assert makespan(jobs, seconds, 4) == pytest.approx((17000 + 1700) / 4 + 1, abs=10)
        assert time.thread_time() - began < 0.1


class TestTimeLeft:
    def test_a_line_gives_the_time_left_for_the_whole_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, clock: Clock
    ) -> None:
        begun(tmp_path, monkeypatch, job("film", 100), job("train", 300, 0, cores=2, kind="training"), cores=2)
        with caplog.at_level(logging.INFO), runs.join(Path("logs/film.log")):
            progress = Progress("film", 10, "videos")
            clock.now += 20
            progress.advance(2)
        assert caplog.messages == ["film: 10 videos", "film: 2/10 videos, 1:20 left, run 6:20 left"]

    def test_without_a_run_or_with_another_script_lines_are_as_ever(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, clock: Clock
    ) -> None:
        def line(name: str | None) -> str:
            with runs.join(Path(name) if name else None):
                progress = Progress("film", 10, "videos")
                clock.now += 20
                progress.advance(2)
            return caplog.messages[-1]

        with caplog.at_level(logging.INFO):
            assert line("logs/film.log") == "film: 2/10 videos, 1:20 left"
            path = begun(tmp_path, monkeypatch, job("film", 100))
            assert line("logs/other.log") == line(None) == "film: 2/10 videos, 1:20 left"
            assert line("logs/film.log") == "film: 2/10 videos, 1:20 left, run 1:20 left"
            path.write_text("{}")
            assert line("logs/film.log") == "film: 2/10 videos, 1:20 left"
        assert any("is no record of a run" in message for message in caplog.messages)

    def test_what_jobs_took_corrects_what_remains(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        """Four jobs of a kind in a row, each three times as slow as estimated."""
        jobs = [job(f"film-{number}", 100, *([number - 1] if number else [])) for number in range(4)]
        begun(tmp_path, monkeypatch, *jobs, cores=1)
        told: list[float] = []
        for number in range(3):
            with runs.join(Path(f"logs/film-{number}.log")):
                progress = Progress("film", 10, "videos")
                for done in range(10):
                    clock.now += 30
                    progress.advance(1)
                    member = runs.current()
                    assert member
                    if done == 4:
                        told.append(member.time_left(150.0) or 0.0)
        true = [1050, 750, 450]
        assert told[0] > 600, "half of one job already tells that all are slower"
        assert told == sorted(told, reverse=True)
        assert told[-1] == pytest.approx(true[-1], rel=0.1)

    def test_jobs_side_by_side_know_of_each_other(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        path = begun(tmp_path, monkeypatch, job("a", 100), job("b", 100), job("c", 50, 0, 1))
        run, folder = Run(2, (job("a", 100), job("b", 100), job("c", 50, 0, 1))), path.with_suffix("")
        one, other = runs.Member(run, 0, folder), runs.Member(run, 1, folder)
        with one.at_work(), other.at_work():
            clock.now += 50
            assert one.time_left(50.0) == pytest.approx(100)
            assert other.time_left(200.0) > 250, "the slower one decides"
            clock.now += 10
            assert one.time_left(40.0) > 240
        resumed = runs.Member(run, 2, folder)
        with resumed.at_work():
            assert resumed.time_left(20.0) == pytest.approx(20), "what ended is over"

    def test_work_that_was_found_done_shows_no_speed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        begun(tmp_path, monkeypatch, job("a", 100), job("b", 100, 0), cores=1)
        with runs.join(Path("logs/a.log")):
            Progress("film", 10, "videos", done=10)
            clock.now += 2
        with runs.join(Path("logs/b.log")):
            member = runs.current()
            assert member and member.time_left(100.0) == pytest.approx(100)
        path = begun(tmp_path, monkeypatch, job("a", 100), job("b", 100, 0), job("c", 100, 1), cores=1)
        with runs.join(Path("logs/a.log")):
            Progress("film", 10, "videos", done=10)
            clock.now += 2
        with runs.join(Path("logs/b.log")):
            member = runs.current()
            assert member and member.time_left(100.0) == pytest.approx(200)
        assert len((path.with_suffix("") / "journal.jsonl").read_text().splitlines()) == 5

    def test_a_new_run_forgets_the_journal_of_the_last(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = begun(tmp_path, monkeypatch, job("a", 100))
        with runs.join(Path("logs/a.log")):
            pass
        journal = path.with_suffix("") / "journal.jsonl"
        assert [json.loads(line)["ended"] for line in journal.read_text().splitlines()] == [False, True]
        begun(tmp_path, monkeypatch, job("a", 100))
        assert not journal.exists()

    def test_a_journal_that_cannot_be_written_stops_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, clock: Clock
    ) -> None:
        path = begun(tmp_path, monkeypatch, job("film", 10))
        path.with_suffix("").rmdir()
        with caplog.at_level(logging.INFO), runs.join(Path("logs/film.log")):
            progress = Progress("film", 10, "videos")
            clock.now += 200
            progress.advance(2)
        assert caplog.messages[-1] == "film: 2/10 videos, 13:20 left"


def slow_shard(folder: Path, place: int, both: object) -> None:
    """A process of a slow stage, which says so into a log of its own."""
    logging.basicConfig(filename=folder / f"{place}.log", level=logging.INFO, format="%(message)s", force=True)
    run = Run(2, (job("a", 1, stage="film round-1"), job("b", 1, stage="film round-1")))
    member = runs.Member(run, place, folder / "run")
    both.wait()  # type: ignore[attr-defined]
    member._warn(100.0, 400.0)


class TestSlow:
    def test_of_two_processes_one_says_that_the_stage_is_slow(self, tmp_path: Path) -> None:
        runs.begin(Run(2, ()), tmp_path / "run.json")
        context = multiprocessing.get_context("spawn")
        both = context.Barrier(2)
        shards = [context.Process(target=slow_shard, args=(tmp_path, place, both)) for place in range(2)]
        for shard in shards:
            shard.start()
        for shard in shards:
            shard.join(60)
            assert shard.exitcode == 0
        said = "".join((tmp_path / f"{place}.log").read_text() for place in range(2))
        assert said.count("film round-1: more than 3 times its estimate of 0:01 (1:40 so far, about 6:40 in all)") == 1
        assert "other programs" in said and "swaps" in said and "bfloat16" in said

    @pytest.mark.parametrize(("pace", "warned"), [(20, False), (95, True)])
    def test_the_pace_of_the_first_lines_is_enough(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        clock: Clock,
        pace: int,
        warned: bool,
    ) -> None:
        begun(tmp_path, monkeypatch, job("train", 300))
        with runs.join(Path("logs/train.log")):
            progress = Progress("train", 10, "steps")
            for _ in range(3):
                clock.now += pace
                progress.advance(1)
        assert sum("times its estimate of 5:00" in message for message in caplog.messages) == warned

    def test_a_job_without_any_line_is_noticed_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(runs, "GRACE", 0.1)
        begun(tmp_path, monkeypatch, job("draw", 0.1), job("short", 0.1))
        with runs.join(Path("logs/draw.log")):
            time.sleep(1)
        with runs.join(Path("logs/short.log")):
            pass
        time.sleep(0.5)
        (message,) = caplog.messages
        assert message.startswith("draw: more than 3 times its estimate of 0:00 (0:00 so far)")

    def test_seconds_over_a_short_estimate_are_no_news(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, clock: Clock
    ) -> None:
        begun(tmp_path, monkeypatch, job("gather", 1), job("fetch", None))
        for name in ("gather", "fetch"):
            with runs.join(Path(f"logs/{name}.log")):
                progress = Progress(name, 10, "files")
                clock.now += 55 if name == "gather" else 5000
                progress.advance(10)
        assert not [message for message in caplog.messages if "estimate" in message]
