"""What a run takes and what of it is done: videos, requests, tokens, GPU-hours and money, by generator and stage."""

import csv
import json
import math
import textwrap
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from promptavideo import probe, runs, timing
from promptavideo.batches import RULES, Batch, Booster, Draw, Refine, Round
from promptavideo.config import Config
from promptavideo.counts import Count, Counts
from promptavideo.layout import REWARDS
from promptavideo.operators.ledger import Ledger, Spent
from promptavideo.probe import Asked, Probe, Speed, Work
from promptavideo.study import Study
from promptavideo.vbench.dimensions import DIMENSIONS
from promptavideo.vbench.evaluate import read_result

EMULATED = 5.0
"""How many times slower than the rest of the machine a dtype is that has no instructions of its own."""


@dataclass(frozen=True)
class Row:
    """One stage of one generator: what is done and what remains, in hours and in the configuration's currency."""

    generator: str
    stage: str
    jobs: int = 0
    """Those that work on videos or texts (film, score, judge, refine, draw, train); the others take seconds."""
    jobs_done: int = 0
    videos: int = 0
    """Each once, though sets may share some."""
    videos_done: int = 0
    requests: int = 0
    requests_done: int = 0
    tokens_done: int = 0
    tokens_to_do: int = 0
    gpu_hours_done: float = 0.0
    gpu_hours_to_do: float = 0.0
    money_done: float = 0.0
    money_to_do: float = 0.0


class Estimate:
    """Estimates a checked configuration against what lies in `results/`.

    What is measured replaces what the configuration expects: seconds a video and its scores, from the track's jobs
    that are done. What is expected is scaled to this machine by `speed`. A stage whose data are not there yet is
    estimated at its largest: every prompt gives a pair, a triple, and as many variants as are asked for.

    GPU hours that are done are those that jobs took; videos and scores that a job found in the store count for the job
    that made them. Tokens that are done are estimated like those to do, since endpoints are shared; see `spent`.
    """

    def __init__(self, study: Study, root: Path, speed: Speed | None = None) -> None:
        """Take a run and the folder of its results; without `speed`, this is the reference machine."""
        self._study, self._config, self._root = study, study.config, root
        self._vbench, self._counts = study.vbench, Counts(study, root)
        self.speed = speed or Speed()
        self.measured = cache(self._measured)
        self.loading = cache(self._loading)
        self._judged_jobs = cache(self._read_judged_jobs)
        self._counted = cache(self._count)

    def video(self, track: str) -> float:
        """Seconds to film one video."""
        film = self.measured(track, None)
        expected = self._config.generators[track].seconds_per_video
        return film.seconds / film.items if film.items else expected * self.speed.filming.get(track, 1.0)

    def score(self, track: str, judges: str = REWARDS) -> float:
        """Seconds to score one video."""
        score = self.measured(track, judges)
        expected = self._config.planning.seconds_per_score
        return score.seconds / score.items if score.items else expected * self.speed.plain

    @property
    def text(self) -> float:
        """Seconds to draw one text."""
        return self._config.planning.seconds_per_text * self.speed.training

    @property
    def start(self) -> float:
        """Seconds that a job takes beside its work."""
        return self._config.planning.seconds_per_job * self.speed.plain

    @property
    def load(self) -> float:
        """Seconds that a job takes beside its work if it loads a model."""
        return self._config.planning.seconds_per_load * self.speed.plain

    def _loading(self, track: str, judges: str | None) -> float:
        """Seconds that one of a track's jobs takes beside its work: of filming, or of a group of judges."""
        loads = judges is None or any(entry.models for entry in self._study.judging(judges, track).values())
        return self._beside(self._records(track, judges), loads)

    def _beside(self, jobs: Iterable[timing.Timing], loads: bool) -> float:
        """Seconds that a job takes beside its work, by what others took; as expected where these do not show it."""
        took = _median(one.job_seconds - one.seconds for one in jobs if one.job_seconds)
        return took if not math.isnan(took) else self.load if loads else self.start

    def judging(self, batch: Batch, dimension: str) -> float:
        """Seconds of one of VBench's jobs on a batch, all of which judge about as many videos."""
        jobs, planning = self._judged_jobs(batch.track, dimension), self._config.planning
        videos = sum(one.items for one in jobs)
        expected = planning.seconds_per_judgement * self.speed.plain
        each = sum(one.seconds for one in jobs) / videos if videos else expected
        beside = self._beside(jobs, loads=bool(self._vbench.checkpoints_of(dimension)))
        shards = len(self._vbench.shards(batch, dimension))
        return beside + each * self._vbench.judgements(batch, dimension) / shards

    def _read_judged_jobs(self, track: str, dimension: str) -> list[timing.Timing]:
        """What VBench's jobs took that judged something in a dimension."""
        found = []
        for batch in filter(self._vbench.judged, self._study.evaluations(track)):
            for name, shard in self._vbench.jobs(batch):
                path = self._root / self._study.files(batch).dimension(name, shard)
                if name == dimension and path.exists() and (result := read_result(path)).judged:
                    took = self._took("vbench_dimension", track, batch.name, dimension, shard)
                    found.append(timing.Timing(len(result.judged), result.seconds, took))
        return found

    def training(self, booster: Booster) -> float:
        """Seconds of a training at its largest."""
        each = getattr(self._config.planning, booster.entry.SECONDS)
        examples = len(booster.tracks) * self._study.prompts_in(booster.prompts)
        return examples * self._epochs(booster) * each * self.speed.training

    def _epochs(self, booster: Booster) -> float:
        return booster.entry.settled(self._config.booster).epochs

    def videos(self, batch: Batch, shards: int, judges: str | None = None) -> float:
        """Videos to film, or to score, in some of a batch's filming jobs, at most; the batch's mean of new ones."""
        counts = self._counted(batch.track, judges)
        whole = counts[batch].videos if batch in counts else self._study.prompts(batch) * batch.per_prompt
        return whole * shards / len(self._study.shards(batch))

    def _count(self, track: str, judges: str | None) -> dict[Batch, Count]:
        """The videos of a track's batches, or of those that a group of judges looks at."""
        return self._counts.of(one for one in self._study.batches(track) if judges is None or judges in one.judges)

    def texts(self, batch: Batch) -> int:
        """Texts that a network writes for a batch."""
        each = batch.per_prompt if isinstance(batch.source, Draw) else 1
        return self._study.prompts(batch) * each

    def as_planning(self, track: str) -> dict[str, float]:
        """What jobs of one track took here, as the configuration's planning numbers; those that show by now.

        Jobs must have run through: of one that was resumed only the last part was recorded.
        """
        load = _median(one.job_seconds - one.seconds for one in self._records(track, None) if one.job_seconds)
        boosters = self._study.boosters(track)
        drawn = [self._study.candidates(track, one) for one in boosters if one.drawing]
        texts = [(self._took("candidates", track, one.name) - load) / self.texts(one) for one in drawn]
        trained: dict[str, list[float]] = {}
        for one in boosters:
            card = self._root / self._study.files_of(one).card
            examples = json.loads(card.read_text(encoding="utf-8"))["examples"] if card.exists() else math.nan
            took = (self._took("train", one.home, one.name) - load) / (examples * self._epochs(one))
            trained.setdefault(one.entry.SECONDS, []).append(took)
        film, score = self.measured(track, None), self.measured(track, REWARDS)
        judged = [one for dimension in DIMENSIONS for one in self._judged_jobs(track, dimension)]
        gathered = (self._took("gather", track, one.name, REWARDS) for one in self._study.batches(track))
        found = {
            "seconds_per_video": film.seconds / film.items if film.items else math.nan,
            "seconds_per_job": _median(gathered),
            "seconds_per_load": load,
            "seconds_per_score": score.seconds / score.items if score.items else math.nan,
            "seconds_per_judgement": sum(one.seconds for one in judged) / max(sum(one.items for one in judged), 1),
            "seconds_per_text": _median(texts),
            "seconds_per_example": _median(trained.get("seconds_per_example", [])),
            "seconds_per_triple": _median(trained.get("seconds_per_triple", [])),
        }
        return {name: seconds for name, seconds in found.items() if seconds > 0}

    def _took(self, rule: str, *names: str) -> float:
        """Seconds of a job by the record that Snakemake keeps of it; not a number where that is gone."""
        try:
            with (self._root / self._study.layout.benchmark(rule, *names)).open(encoding="utf-8", newline="") as stream:
                return float(next(csv.DictReader(stream, delimiter="\t"))["s"])
        except (OSError, StopIteration, KeyError, TypeError, ValueError):
            return math.nan

    def rows(self, track: str) -> list[Row]:
        """Every stage of one track, in the order of the method."""
        rows: list[Row] = []
        boosters = self._study.boosters(track)
        first = [one for one in boosters if one.drawing is None]
        last_round = self._study.rounds(track)[-1] if self._study.evolves(track) else None
        if last_round is None:
            rows += [self._training(track, one) for one in first if one.tracks[0] == track]
        for batch, filmed in self._counted(track, None).items():
            rows += self._texts(batch)
            rows.append(self._films(batch, filmed))
            for judges in batch.judges:
                rows.append(self._scores(batch, judges, self._counted(track, judges)[batch]))
            if self._vbench.judged(batch):
                rows.append(self._judges(batch))
            ready = first if batch == last_round else []
            ready += [batch.source.learner] if isinstance(batch.source, Draw) else []
            rows += [self._training(track, one) for one in ready if one.tracks[0] == track]
        return rows

    def _measured(self, track: str, judges: str | None) -> timing.Timing:
        """Sums over the timing records of a track's jobs that filmed, or of a group of judges."""
        total = timing.Timing()
        for one in self._records(track, judges):
            total.items += one.items
            total.seconds += one.seconds
            total.device = one.device
            total.peak_memory_mb = max(total.peak_memory_mb, one.peak_memory_mb)
        return total

    def spent(self, operator: str) -> Spent:
        """What an operator has really taken, over all tracks and stages."""
        return Ledger(self._root / self._study.layout.ledger, f"operators.{operator}").spent()

    def _records(self, track: str, judges: str | None) -> list[timing.Timing]:
        """The records of a track's jobs that filmed, or of a group of judges."""
        return [record for batch in self._study.named(track).values() for record in self._records_of(batch, judges)]

    def _records_of(self, batch: Batch, judges: str | None) -> list[timing.Timing]:
        """The timing records of a batch's jobs that found not everything done, in whatever shards."""
        files, found = self._study.files(batch), []
        folder = Path(files.filming("") if judges is None else files.judging(judges, "")).parent
        for path in sorted((self._root / folder).glob("*.timing.json")):
            if (one := timing.read(path)).items:
                shard = path.name.removesuffix(".timing.json")
                job = (
                    ("film", batch.track, batch.name) if judges is None else ("score", batch.track, batch.name, judges)
                )
                # Snakemake's record counts the end of the process too, which takes seconds with torch.
                took = self._took(*job, shard)
                one.job_seconds = one.job_seconds if math.isnan(took) else took
                found.append(one)
        return found

    def _records_behind(self, batch: Batch, judges: str | None) -> list[timing.Timing]:
        """The records of the jobs that made a batch's videos, or scored them."""
        return [record for made in self._counts.made_by(batch) for record in self._records_of(made, judges)]

    def _films(self, batch: Batch, count: Count) -> Row:
        entry = self._config.generators[batch.generator]
        jobs = self._study.manifests(batch)
        done = self._done(batch, jobs)
        seconds = count.left * self.video(batch.track) + (len(jobs) - done) * self.loading(batch.track, None)
        took = sum(max(one.seconds, one.job_seconds) for one in self._records_behind(batch, None))
        if not entry.films_here:
            seconds, took = 0.0, 0.0
        return self._row(
            batch.track,
            f"{batch.name} film",
            took,
            seconds,
            money_done=count.done * entry.price,
            money_to_do=count.left * entry.price,
            jobs=len(jobs),
            jobs_done=done,
            videos=count.videos,
            videos_done=count.done,
        )

    def _scores(self, batch: Batch, judges: str, count: Count) -> Row:
        files = self._study.files(batch)
        jobs = [files.judged(judges, shard) for shard in self._study.scoring_shards(batch, judges)]
        done = self._done(batch, jobs, judges)
        records = self._records_behind(batch, judges)
        left = count.videos - min(count.videos, sum(one.items for one in records)) if done < len(jobs) else 0
        seconds = left * self.score(batch.track, judges) + (len(jobs) - done) * self.loading(batch.track, judges)
        return self._row(
            batch.track,
            f"{batch.name} score" + ("" if judges == REWARDS else f" by {judges}"),
            sum(max(one.seconds, one.job_seconds) for one in records),
            seconds,
            jobs=len(jobs),
            jobs_done=done,
        )

    def _judges(self, batch: Batch) -> Row:
        """VBench's jobs of one evaluation."""
        jobs, done, to_do, took = self._vbench.jobs(batch), 0, 0.0, 0.0
        for dimension, shard in jobs:
            seconds = self.judging(batch, dimension)
            if (self._root / self._study.files(batch).dimension(dimension, shard)).exists():
                measured = self._took("vbench_dimension", batch.track, batch.name, dimension, shard)
                done, took = done + 1, took + (seconds if math.isnan(measured) else measured)
            else:
                to_do += seconds
        return self._row(batch.track, f"{batch.name} vbench", took, to_do, jobs=len(jobs), jobs_done=done)

    def _done(self, batch: Batch, files: Collection[str], judges: str = REWARDS) -> int:
        """How many of a batch's jobs are done; all of them once it is gathered."""
        if (self._root / self._study.files(batch).scores(judges)).exists():
            return len(files)
        return sum((self._root / one).exists() for one in files)

    def _texts(self, batch: Batch) -> list[Row]:
        """What makes a batch's prompts table: an operator, a network, or nothing that costs."""
        match batch.source:
            case Round():
                return [self._requests(batch, self._config.evolution.operator_of(batch.track))]
            case Draw():
                return [self._answers(batch)]
            case Refine(_, name):
                refiner = self._config.refiners[name]
                if refiner.asks:
                    return [self._requests(batch, refiner.asks)]
                if refiner.network:
                    return [self._answers(batch)]
                return [Row(batch.track, f"{batch.name} copy", jobs=1, jobs_done=int(self._proposed(batch)))]
        return []

    def _requests(self, batch: Batch, name: str) -> Row:
        planning, operator, count = self._config.planning, self._config.operators[name], self._study.prompts(batch)
        proposed, evaluated = self._proposed(batch), isinstance(batch.source, Refine)
        if evaluated and operator.kept:
            count = self._counts.asked(batch)
        done = count if proposed else 0
        tokens = planning.request_tokens + planning.answer_tokens if operator.kept else 0
        price = operator.price(planning.request_tokens, planning.answer_tokens)
        return Row(
            batch.track,
            f"{batch.name} ask {name}",
            requests=count,
            requests_done=done,
            tokens_done=done * tokens,
            tokens_to_do=(count - done) * tokens,
            money_done=done * price,
            money_to_do=(count - done) * price,
            jobs=int(evaluated),
            jobs_done=int(evaluated and proposed),
        )

    def _answers(self, batch: Batch) -> Row:
        took = self._took(RULES[type(batch.source)], batch.track, batch.name)
        return self._gpu(
            batch.track, f"{batch.name} sample", self.texts(batch) * self.text, self._proposed(batch), took
        )

    def _training(self, track: str, booster: Booster) -> Row:
        done = (self._root / self._study.files_of(booster).card).exists()
        took = self._took("train", booster.home, booster.name)
        return self._gpu(track, f"{booster.name} train", self.training(booster), done, took)

    def _gpu(self, track: str, stage: str, expected: float, done: bool, took: float) -> Row:
        """A stage that is one job."""
        seconds = expected + self.load if math.isnan(took) or not done else took
        spent, left = (seconds, 0.0) if done else (0.0, seconds)
        return self._row(track, stage, spent, left, jobs=1, jobs_done=int(done))

    def _row(
        self,
        track: str,
        stage: str,
        seconds_done: float,
        seconds_to_do: float,
        money_done: float = 0.0,
        money_to_do: float = 0.0,
        **counts: Any,
    ) -> Row:
        """A row whose money includes that of its GPU hours."""
        price, done, to_do = self._config.planning.gpu_hour_price, seconds_done / 3600, seconds_to_do / 3600
        return Row(
            track,
            stage,
            gpu_hours_done=done,
            gpu_hours_to_do=to_do,
            money_done=money_done + done * price,
            money_to_do=money_to_do + to_do * price,
            **counts,
        )

    def _proposed(self, batch: Batch) -> bool:
        return (self._root / self._study.files(batch).prompts).exists()


def as_table(rows: Iterable[Row]) -> pd.DataFrame:
    """Rows as a table, each generator's followed by its total."""
    table = pd.DataFrame([asdict(row) for row in rows])
    parts = []
    for generator, part in table.groupby("generator", sort=False):
        total = part.drop(columns=["generator", "stage"]).sum().to_dict()
        parts += [part, pd.DataFrame([{"generator": generator, "stage": "total", **total}])]
    return pd.concat(parts, ignore_index=True).astype(table.dtypes.to_dict())


def describe(table: pd.DataFrame, estimate: Estimate, config: Config) -> str:
    """The table as text, with what its times rest on and what operators have taken by their ledger."""
    lines = [table.to_string(index=False, float_format="{:,.2f}".format), ""]
    speed = estimate.speed
    for generator, entry in config.generators.items():
        film, score = estimate.measured(generator, None), estimate.measured(generator, REWARDS)
        told = [_told("s a video", film, entry.seconds_per_video, speed.filming.get(generator, 1.0))]
        told.append(_told("s a score", score, config.planning.seconds_per_score, speed.plain))
        lines.append(f"{generator}: {', '.join(told)}")
    for name, operator in config.operators.items():
        if operator.kept and (spent := estimate.spent(name)).requests:
            money = f"{spent.money:,.2f} {config.planning.currency}" if spent.money else "no money"
            took = f"{spent.requests:,} requests, {spent.tokens:,} tokens and {money}"
            lines.append(f"operators.{name}: took {took} so far")
    lines.append(f"money in {config.planning.currency}; GPU hours are hours of one worker")
    if config.planning.reference:
        for generator in config.generators:
            if numbers := estimate.as_planning(generator):
                listed = ", ".join(f"{name}: {seconds:.2g}" for name, seconds in numbers.items())
                lines.append(f"planning numbers of this machine by {generator}: {listed}")
    return "\n".join(lines)


def as_reference(measured: Probe) -> str:
    """A probe of one generator at least, as `planning.reference` would name this machine."""
    filming = min(measured.filming.values(), default=math.nan)
    numbers = {"filming": filming, "training": measured.training, "plain": measured.plain}
    return f"planning.reference of this machine: {', '.join(f'{name}: {s:.2g}' for name, s in numbers.items())}"


def _told(what: str, measured: timing.Timing, expected: float, slower: float) -> str:
    if not measured.items:
        here = "" if slower == 1 else f" for {expected:g} on the reference machine"
        return f"{expected * slower:.3g} {what} (expected{here}; `snakemake pilot` measures it)"
    each = measured.seconds / measured.items
    return (
        f"{each:.2f} {what} (measured, {measured.items} on {measured.device}, peak {measured.peak_memory_mb:,.0f} MB)"
    )


def probe_here(config: Config, root: Path, generators: Iterable[str]) -> Probe | None:
    """Probe this machine for some generators; None if the configuration names no reference to compare it with.

    Raises:
        InputError: The probe failed.
    """
    if config.planning.reference is None:
        return None
    filming = {name: work for name in generators if (work := config.generators[name].work)}
    booster = config.booster
    return probe.run(Asked(filming, Work(booster.dtype, booster.threads, booster.device)), root)


def announce(run: runs.Run, config: Config, speed: Speed, measured: Probe | None) -> str:
    """What a run should take, by part and in all, and what that rests on; lines of at most 100 columns."""
    cores = f"{run.cores} core{'s' * (run.cores > 1)}"
    basis = "by a probe of this machine" if measured else "by the configuration's numbers"
    lines = [f"This run should take about {_together(run)} on {cores}, {basis}:"]
    order = ["evolution", *config.boosters, "evaluation"]
    for generator in sorted({job.part[0] for job in run.jobs if job.name}, key=lambda name: (not name, name)):
        parts = {job.part[1] for job in run.jobs if job.name and job.part[0] == generator}
        told = [
            f"{part} {_together(run, (generator, part))}"
            for part in sorted(parts, key=lambda part: (order.index(part) if part in order else len(order), part))
        ]
        lines.append(f"{generator}: {', '.join(told)}" if generator else ", ".join(told))
    if measured:
        for name, slower in speed.filming.items():
            lines.append(_slower(f"{name} films", f"generators.{name}", measured.dtypes[name], slower, speed))
        lines.append(_slower("boosters train", "booster", measured.dtypes["training"], speed.training, speed))
    if unknown := Counter(job.kind for job in run.jobs if job.seconds is None):
        listed = ", ".join(f"{kind} ({count})" for kind, count in unknown.items())
        lines.append(f"not counted, as it depends on more than this machine: {listed}")
    return "\n".join(
        textwrap.fill(line, 100, initial_indent="  " * bool(place), subsequent_indent="    ")
        for place, line in enumerate(lines)
    )


def _together(run: runs.Run, part: tuple[str, str] | None = None) -> str:
    """What all jobs of a run take, or those of one part when nothing else is done."""
    seconds = {place: job.seconds or 0.0 for place, job in enumerate(run.jobs) if part in (None, job.part)}
    return _rough(runs.makespan(run.jobs, seconds, run.cores))


def _slower(what: str, entry: str, dtype: str, slower: float, speed: Speed) -> str:
    emulated = dtype != "float32" and slower > EMULATED * speed.plain
    hint = f"; {dtype} seems to be emulated here, {entry}.dtype: auto would take float32" if emulated else ""
    return f"{what} in {dtype}, which takes {slower:.1f} times as long as on the reference machine{hint}"


def _rough(seconds: float) -> str:
    """A duration in the unit that people would say it in."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def _median(values: Iterable[float]) -> float:
    """The median of the values that are numbers; not a number without any."""
    known = [value for value in values if not math.isnan(value)]
    return median(known) if known else math.nan
