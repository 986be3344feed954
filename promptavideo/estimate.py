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

import pandas as pd

from promptavideo import probe, runs, timing
from promptavideo.config import Config
from promptavideo.counts import Count, Counts
from promptavideo.generators.api import OpenAIVideoConfig
from promptavideo.generators.diffusers_config import DiffusersConfig
from promptavideo.operators import ChatConfig
from promptavideo.operators.ledger import Ledger, Spent
from promptavideo.plan import Plan
from promptavideo.probe import Asked, Probe, Speed, Work
from promptavideo.refiners import BoosterRefinerConfig, LlmRefinerConfig
from promptavideo.refiners.promptist import PromptistConfig
from promptavideo.vbench.evaluate import read_result
from promptavideo.vbench.plan import VBenchPlan

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
    """Reckons a checked configuration against what lies in `results/`.

    What is measured replaces what the configuration expects: seconds a video and its scores, from the generator's jobs
    that are done. What is expected is scaled to this machine by `speed`. A stage whose data are not there yet is
    reckoned at its largest: every prompt gives a pair, a triple, and as many variants as are asked for.

    GPU hours that are done are those that jobs took; videos and scores that a job found in the store count for the job
    that made them. Tokens that are done are reckoned like those to do, since endpoints are shared; see `spent`.
    """

    def __init__(self, config: Config, root: Path, speed: Speed | None = None) -> None:
        """Take a configuration and the folder of its results; without `speed`, this is the reference machine."""
        self._config, self._results = config, root / "results"
        self._benchmarks, self._store = root / "benchmarks", root / config.store
        self._plan = Plan(config, root)
        self._vbench, self._counts = VBenchPlan(self._plan), Counts(config, root, self._plan)
        self.speed = speed or Speed()
        self.measured = cache(self._measured)
        self.loading = cache(self._loading)
        self._judged_jobs = cache(self._read_judged_jobs)
        self._film_counts = cache(lambda generator: self._counts.of(generator, self._plan.batches(generator)))
        self._score_counts = cache(
            lambda generator: self._counts.of(generator, filter(self._scored, self._plan.batches(generator)))
        )

    def video(self, generator: str) -> float:
        """Seconds to film one video."""
        film = self.measured(generator, "videos")
        expected = self._config.generators[generator].seconds_per_video
        return film.seconds / film.items if film.items else expected * self.speed.filming.get(generator, 1.0)

    def score(self, generator: str) -> float:
        """Seconds to score one video."""
        score = self.measured(generator, "rewards")
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

    def _loading(self, generator: str, kind: str) -> float:
        """Seconds that one of a generator's jobs takes beside its work; `kind` is `videos` or `rewards`."""
        loads = kind == "videos" or any(entry.models for entry in self._config.judges.values())
        took = _median(
            one.job_seconds - one.seconds for one in self._records(generator, f"**/{kind}") if one.job_seconds
        )
        return took if not math.isnan(took) else self.load if loads else self.start

    def judging(self, generator: str, name: str, dimension: str) -> float:
        """Seconds of one of VBench's jobs on a set, all of which judge about as many videos."""
        jobs, planning = self._judged_jobs(generator, dimension), self._config.planning
        videos = sum(one.items for one in jobs)
        expected = planning.seconds_per_judgement * self.speed.plain
        each = sum(one.seconds for one in jobs) / videos if videos else expected
        beside = _median(one.job_seconds - one.seconds for one in jobs)
        if math.isnan(beside):
            beside = self.load if self._vbench.checkpoints_of(dimension) else self.start
        return beside + each * self._vbench.judgements(name, dimension) / self._vbench.shards(name, dimension)

    def _read_judged_jobs(self, generator: str, dimension: str) -> list[timing.Timing]:
        """What VBench's jobs took that judged something in a dimension."""
        found = []
        for path in sorted((self._results / generator).glob(f"evaluation/*/*/vbench/{dimension}/*.json")):
            result, (name, refiner) = read_result(path), path.parts[-5:-3]
            took = self._took("vbench", generator, name, refiner, dimension, path.stem)
            if result.judged:
                found.append(timing.Timing(len(result.judged), result.seconds, took))
        return found

    def training(self, stage: str) -> float:
        """Seconds of a training at its largest."""
        booster, planning = self._config.booster, self._config.planning
        batch = f"evolution/round-{self._config.evolution.rounds}" if stage == "sft" else stage
        epochs, each = (
            (booster.sft.epochs, planning.seconds_per_example)
            if stage == "sft"
            else (booster.dpo.epochs, planning.seconds_per_triple)
        )
        return self._plan.prompts(batch) * epochs * each * self.speed.training

    def videos(self, generator: str, batch: str, shard: str, kind: str = "videos") -> float:
        """Videos of one shard of a batch to film, or to score (`rewards`), at most; the batch's mean of new ones."""
        size, each = self._plan.shard_size(generator, batch), self._plan.videos_per_prompt(batch)
        prompts = max(0, min(size, self._plan.prompts(batch) - int(shard) * size))
        count = (self._film_counts if kind == "videos" else self._score_counts)(generator).get(batch)
        return prompts * (count.videos / self._plan.prompts(batch) if count else each)

    def texts(self, batch: str) -> int:
        """Texts that a booster draws for a batch."""
        candidates = self._config.preference.candidates if batch in self._config.stages else 1
        return self._plan.prompts(batch) * candidates

    def as_planning(self, generator: str) -> dict[str, float]:
        """What jobs of one generator took here, as the configuration's planning numbers; those that show by now.

        Jobs must have run through: of one that was resumed only the last part was recorded.
        """
        took, booster = self._took, self._config.booster
        films = self._records(generator, "**/videos")
        load = _median(one.job_seconds - one.seconds for one in films if one.job_seconds)
        texts = [(took("candidates", generator, stage) - load) / self.texts(stage) for stage in self._config.stages[1:]]
        trained = {}
        for stage in self._config.stages:
            card = self._results / generator / "boosters" / stage / "booster.json"
            epochs = booster.sft.epochs if stage == "sft" else booster.dpo.epochs
            examples = json.loads(card.read_text(encoding="utf-8"))["examples"] if card.exists() else math.nan
            trained[stage] = (took("boosters", generator, stage) - load) / (examples * epochs)
        film, score = self.measured(generator, "videos"), self.measured(generator, "rewards")
        judged = [one for dimension in self._vbench.dimensions for one in self._judged_jobs(generator, dimension)]
        found = {
            "seconds_per_video": film.seconds / film.items if film.items else math.nan,
            "seconds_per_job": _median(took("gather", generator, batch) for batch in self._plan.batches(generator)),
            "seconds_per_load": load,
            "seconds_per_score": score.seconds / score.items if score.items else math.nan,
            "seconds_per_judgement": sum(one.seconds for one in judged) / max(sum(one.items for one in judged), 1),
            "seconds_per_text": _median(texts),
            "seconds_per_example": trained.pop("sft"),
            "seconds_per_triple": _median(trained.values()),
        }
        return {name: seconds for name, seconds in found.items() if seconds > 0}

    def _took(self, *job: str) -> float:
        """Seconds of a job by its record in `benchmarks/`; not a number without one."""
        return _seconds(self._benchmarks / f"{Path(*job)}.tsv", math.nan)

    def rows(self, generator: str) -> list[Row]:
        """Every stage of one generator, in the order of the method."""
        rows: list[Row] = []
        last_round = f"evolution/round-{self._config.evolution.rounds}"
        scored = self._score_counts(generator)
        for batch, filmed in self._film_counts(generator).items():
            rows += self._texts(generator, batch)
            rows.append(self._films(generator, batch, filmed))
            if batch in scored:
                rows.append(self._scores(generator, batch, scored[batch]))
            if self._judged(batch):
                rows.append(self._judges(generator, batch))
            if batch == last_round or batch in self._config.stages:
                rows.append(self._training(generator, "sft" if batch == last_round else batch))
        return rows

    def _measured(self, generator: str, kind: str) -> timing.Timing:
        """Sums over the timing records of a generator's jobs; `kind` is `videos` or `rewards`."""
        total = timing.Timing()
        for one in self._records(generator, f"**/{kind}"):
            total.items += one.items
            total.seconds += one.seconds
            total.device = one.device
            total.peak_memory_mb = max(total.peak_memory_mb, one.peak_memory_mb)
        return total

    def spent(self, operator: str) -> Spent:
        """What an operator has really taken, over all generators and stages."""
        return Ledger(self._store / "chat" / "ledger.jsonl").spent(f"operators.{operator}")

    def _records(self, generator: str, where: str) -> list[timing.Timing]:
        """The timing records in a folder of a generator's results, of jobs that found not everything done."""
        found = []
        for path in sorted((self._results / generator).glob(f"{where}/*.timing.json")):
            if (one := timing.read(path)).items:
                rule = {"videos": "film", "rewards": "score"}[path.parent.name]
                job = path.parent.with_name(path.name.split(".")[0]).relative_to(self._results)
                # Snakemake's record counts the end of the process too, which takes seconds with torch.
                one.job_seconds = _seconds(self._benchmarks / rule / f"{job}.tsv", one.job_seconds)
                found.append(one)
        return found

    def _records_of(self, generator: str, batch: str, kind: str) -> list[timing.Timing]:
        made_by = self._counts.made_by(batch)
        return [record for one in made_by for record in self._records(generator, f"{one}/{kind}")]

    def _films(self, generator: str, batch: str, count: Count) -> Row:
        entry = self._config.generators[generator]
        jobs = self._plan.shards(generator, batch)
        done = self._jobs_done(generator, batch, jobs, "videos", ".jsonl")
        seconds = count.left * self.video(generator) + (len(jobs) - done) * self.loading(generator, "videos")
        records = self._records_of(generator, batch, "videos")
        took = sum(max(one.seconds, one.job_seconds) for one in records)
        price = 0.0
        if isinstance(entry, OpenAIVideoConfig):  # films on somebody else's GPU
            seconds, took, price = 0.0, 0.0, entry.seconds * (entry.price_per_second or 0.0)
        return self._row(
            generator,
            f"{batch} film",
            hours_done=took / 3600,
            hours_to_do=seconds / 3600,
            money_done=count.done * price,
            money_to_do=count.left * price,
            jobs=len(jobs),
            jobs_done=done,
            videos=count.videos,
            videos_done=count.done,
        )

    def _scores(self, generator: str, batch: str, count: Count) -> Row:
        jobs = self._plan.scored_together(generator, batch)
        done = self._jobs_done(generator, batch, jobs, "rewards", ".parquet")
        records = self._records_of(generator, batch, "rewards")
        left = count.videos - min(count.videos, sum(one.items for one in records)) if done < len(jobs) else 0
        seconds = left * self.score(generator) + (len(jobs) - done) * self.loading(generator, "rewards")
        return self._row(
            generator,
            f"{batch} score",
            hours_done=sum(max(one.seconds, one.job_seconds) for one in records) / 3600,
            hours_to_do=seconds / 3600,
            jobs=len(jobs),
            jobs_done=done,
        )

    def _judges(self, generator: str, batch: str) -> Row:
        """VBench's jobs of one refiner on one set."""
        _, name, refiner = batch.split("/")
        jobs = self._vbench.results(generator, name, refiner)
        left = [job for job in jobs if not (self._results.parent / job).exists()]
        seconds = {job: self.judging(generator, name, Path(job).parent.name) for job in jobs}
        folder = self._benchmarks / "vbench" / generator / name / refiner
        took = (
            _seconds(folder.joinpath(*Path(job).with_suffix(".tsv").parts[-2:]), expected)
            for job, expected in seconds.items()
            if job not in left
        )
        return self._row(
            generator,
            f"{batch} vbench",
            hours_done=sum(took) / 3600,
            hours_to_do=sum(seconds[job] for job in left) / 3600,
            jobs=len(jobs),
            jobs_done=len(jobs) - len(left),
        )

    def _jobs_done(self, generator: str, batch: str, jobs: Collection[str], kind: str, suffix: str) -> int:
        if self._counts.gathered(generator, batch):
            return len(jobs)
        return sum((self._results / generator / batch / kind / f"{job}{suffix}").exists() for job in jobs)

    def _texts(self, generator: str, batch: str) -> list[Row]:
        """What makes a batch's prompts table: an operator, a booster, or nothing that costs."""
        stage, *rest = batch.split("/")
        count = self._plan.prompts(batch)
        if stage == "evolution":
            if rest[0] == "round-0":
                return []
            return [self._requests(generator, batch, self._config.evolution.operator_of(generator), count)]
        if stage in self._config.stages:
            return [self._answers(generator, batch)]
        refiner = self._config.refiners[rest[1]]
        if isinstance(refiner, LlmRefinerConfig):
            return [self._requests(generator, batch, refiner.operator, count)]
        if isinstance(refiner, BoosterRefinerConfig | PromptistConfig):
            return [self._answers(generator, batch)]
        return [Row(generator, f"{batch} copy", jobs=1, jobs_done=int(self._proposed(generator, batch)))]

    def _requests(self, generator: str, batch: str, name: str, count: int) -> Row:
        planning, operator = self._config.planning, self._config.operators[name]
        proposed, evaluated = self._proposed(generator, batch), batch.startswith("evaluation/")
        jobs = {"jobs": int(evaluated), "jobs_done": int(evaluated and proposed)}
        if evaluated and isinstance(operator, ChatConfig):
            count = self._counts.asked(generator, batch)
        done = count if proposed else 0
        stage, to_do = f"{batch} ask {name}", count - done
        if not isinstance(operator, ChatConfig):
            return Row(generator, stage, requests=count, requests_done=done, **jobs)
        tokens = planning.request_tokens + planning.answer_tokens
        price = operator.prices.of(planning.request_tokens, planning.answer_tokens) if operator.prices else 0.0
        return Row(
            generator,
            stage,
            requests=count,
            requests_done=done,
            tokens_done=done * tokens,
            tokens_to_do=to_do * tokens,
            money_done=done * price,
            money_to_do=to_do * price,
            **jobs,
        )

    def _answers(self, generator: str, batch: str) -> Row:
        stage, *rest = batch.split("/")
        job = Path("refine", generator, *rest) if stage == "evaluation" else Path("candidates", generator, stage)
        expected = self.texts(batch) * self.text
        return self._gpu(generator, f"{batch} sample", expected, self._proposed(generator, batch), job)

    def _training(self, generator: str, stage: str) -> Row:
        done = (self._results / generator / "boosters" / stage / "booster.json").exists()
        return self._gpu(generator, f"{stage} train", self.training(stage), done, Path("boosters", generator, stage))

    def _gpu(self, generator: str, stage: str, expected: float, done: bool, job: Path) -> Row:
        """A stage that is one job, which took what its record in `benchmarks/` says."""
        expected += self.load
        if not done:
            return self._row(generator, stage, jobs=1, hours_to_do=expected / 3600)
        took = _seconds(self._benchmarks / f"{job}.tsv", expected)
        return self._row(generator, stage, jobs=1, jobs_done=1, hours_done=took / 3600)

    def _row(
        self,
        generator: str,
        stage: str,
        hours_done: float = 0.0,
        hours_to_do: float = 0.0,
        money_done: float = 0.0,
        money_to_do: float = 0.0,
        **counts: int,
    ) -> Row:
        """A row whose money includes that of its GPU hours."""
        price = self._config.planning.gpu_hour_price
        return Row(
            generator,
            stage,
            gpu_hours_done=hours_done,
            gpu_hours_to_do=hours_to_do,
            money_done=money_done + hours_done * price,
            money_to_do=money_to_do + hours_to_do * price,
            **counts,
        )

    def _scored(self, batch: str) -> bool:
        """Whether the rewards score a batch; a set may be for VBench alone."""
        stage, *rest = batch.split("/")
        return stage != "evaluation" or self._config.evaluation.sets[rest[0]].rewards

    def _judged(self, batch: str) -> bool:
        """Whether a table shows VBench's judgements of a batch."""
        stage, *rest = batch.split("/")
        return stage == "evaluation" and rest[0] in self._vbench.tables.values() and not self._vbench.left_out

    def _proposed(self, generator: str, batch: str) -> bool:
        return (self._results / generator / batch / "prompts.parquet").exists()


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
        film, score = estimate.measured(generator, "videos"), estimate.measured(generator, "rewards")
        told = [_told("s a video", film, entry.seconds_per_video, speed.filming.get(generator, 1.0))]
        told.append(_told("s a score", score, config.planning.seconds_per_score, speed.plain))
        lines.append(f"{generator}: {', '.join(told)}")
    for name, operator in config.operators.items():
        if isinstance(operator, ChatConfig) and (spent := estimate.spent(name)).requests:
            money = f"{spent.money:,.2f} {operator.prices.currency}" if operator.prices else "no money"
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
    filming = {
        name: Work(entry.dtype, entry.threads, entry.device)
        for name in generators
        if isinstance(entry := config.generators[name], DiffusersConfig)
    }
    booster = config.booster
    return probe.run(Asked(filming, Work(booster.dtype, booster.threads, booster.device)), root)


def speed_of(config: Config, measured: Probe | None) -> Speed:
    """This machine's speed by its probe; the reference machine's without one."""
    reference = config.planning.reference
    return Speed.of(measured, reference) if measured and reference else Speed()


def announce(run: runs.Run, config: Config, speed: Speed, measured: Probe | None) -> str:
    """What a run should take, by part and in all, and what that rests on; lines of at most 100 columns."""
    cores = f"{run.cores} core{'s' * (run.cores > 1)}"
    basis = "by a probe of this machine" if measured else "by the configuration's numbers"
    lines = [f"This run should take about {_together(run)} on {cores}, {basis}:"]
    order = ["evolution", *config.stages, "evaluation"]
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


def _seconds(benchmark: Path, expected: float) -> float:
    """What a job took, by the record that Snakemake keeps of it; what was expected where that is gone."""
    try:
        with benchmark.open(encoding="utf-8", newline="") as stream:
            return float(next(csv.DictReader(stream, delimiter="\t"))["s"])
    except (OSError, StopIteration, KeyError, TypeError, ValueError):
        return expected
