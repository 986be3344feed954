"""What a run takes and what of it is done: videos, requests, tokens, GPU-hours and money, by generator and stage."""

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from promptavideo import timing
from promptavideo.config import Config
from promptavideo.generators.api import OpenAIVideoConfig
from promptavideo.operators import ChatConfig
from promptavideo.operators.ledger import Ledger, Spent
from promptavideo.plan import Plan
from promptavideo.refiners import BoosterRefinerConfig, LlmRefinerConfig
from promptavideo.store import read_manifest


@dataclass(frozen=True)
class Row:
    """One stage of one generator: what is done and what remains, in hours and in the configuration's currency."""

    generator: str
    stage: str
    videos: int = 0
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
    that are done. A stage whose data are not there yet is reckoned at its largest: every prompt gives a pair, a triple,
    and as many variants as are asked for.

    GPU hours that are done are those that jobs took; videos and scores that a job found in the store count for the job
    that made them. Tokens that are done are reckoned like those to do, since endpoints are shared; see `spent`.
    """

    def __init__(self, config: Config, root: Path) -> None:
        self._config, self._results = config, root / "results"
        self._benchmarks, self._store = root / "benchmarks", root / config.store
        self._plan = Plan(config, root)

    def rows(self, generator: str) -> list[Row]:
        """Every stage of one generator, in the order of the method."""
        rows: list[Row] = []
        film, score = self.measured(generator, "videos"), self.measured(generator, "rewards")
        last_round = f"evolution/round-{self._config.evolution.rounds}"
        for batch in self._plan.batches(generator):
            rows += self._texts(generator, batch)
            rows.append(self._films(generator, batch, film, score))
            if batch == last_round:
                rows.append(self._training(generator, "sft", batch))
            elif batch in self._config.stages:
                rows.append(self._training(generator, batch, batch))
        return rows

    def measured(self, generator: str, kind: str) -> timing.Timing:
        """Sums over the timing records of a generator's jobs; `kind` is `videos` or `rewards`."""
        return self._sum(self._results / generator, f"**/{kind}")

    def spent(self, operator: str) -> Spent:
        """What an operator has really taken, over all generators and stages."""
        return Ledger(self._store / "chat" / "ledger.jsonl").spent(f"operators.{operator}")

    @staticmethod
    def _sum(folder: Path, where: str) -> timing.Timing:
        total = timing.Timing()
        for path in sorted(folder.glob(f"{where}/*.timing.json")):
            one = timing.read(path)
            if one.items:
                total.items += one.items
                total.seconds += one.seconds
                total.device = one.device
                total.peak_memory_mb = max(total.peak_memory_mb, one.peak_memory_mb)
        return total

    def _films(self, generator: str, batch: str, film: timing.Timing, score: timing.Timing) -> Row:
        entry = self._config.generators[generator]
        videos = self._plan.prompts(batch) * self._plan.videos_per_prompt(batch)
        manifests = (self._results / generator / batch / "videos").glob("*.jsonl")
        done = sum(len(read_manifest(path)) for path in manifests)
        if self._gathered(generator, batch):
            videos = done  # a late round may have found fewer prompts than were asked for
        filming = film.seconds / film.items if film.items else entry.seconds_per_video
        scoring = score.seconds / score.items if score.items else self._config.planning.seconds_per_score
        if not self._scored(batch):
            scoring = 0.0
        filmed, scored = (self._sum(self._results / generator / batch, kind).seconds for kind in ("videos", "rewards"))
        price = 0.0
        if isinstance(entry, OpenAIVideoConfig):  # films on somebody else's GPU
            filming, filmed, price = 0.0, 0.0, entry.seconds * (entry.price_per_second or 0.0)
        return self._row(
            generator,
            f"{batch} film",
            hours_done=(filmed + scored) / 3600,
            hours_to_do=(videos - done) * (filming + scoring) / 3600,
            money_done=done * price,
            money_to_do=(videos - done) * price,
            videos=videos,
            videos_done=done,
        )

    def _texts(self, generator: str, batch: str) -> list[Row]:
        """What makes a batch's prompts table: an operator, a booster, or nothing that costs."""
        stage, *rest = batch.split("/")
        count = self._plan.prompts(batch)
        if stage == "evolution":
            if rest[0] == "round-0":
                return []
            return [self._requests(generator, batch, self._config.evolution.operator_of(generator), count)]
        if stage in self._config.stages:
            return [self._answers(generator, batch, count * self._config.preference.candidates)]
        refiner = self._config.refiners[rest[1]]
        if isinstance(refiner, LlmRefinerConfig):
            return [self._requests(generator, batch, refiner.operator, count)]
        return [self._answers(generator, batch, count)] if isinstance(refiner, BoosterRefinerConfig) else []

    def _requests(self, generator: str, batch: str, name: str, count: int) -> Row:
        planning, operator = self._config.planning, self._config.operators[name]
        done = count if self._proposed(generator, batch) else 0
        stage, to_do = f"{batch} ask {name}", count - done
        if not isinstance(operator, ChatConfig):
            return Row(generator, stage, requests=count, requests_done=done)
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
        )

    def _answers(self, generator: str, batch: str, count: int) -> Row:
        stage, *rest = batch.split("/")
        job = Path("refine", generator, *rest) if stage == "evaluation" else Path("candidates", generator, stage)
        expected = count * self._config.planning.seconds_per_text
        return self._gpu(generator, f"{batch} sample", expected, self._proposed(generator, batch), job)

    def _training(self, generator: str, stage: str, batch: str) -> Row:
        booster = self._config.booster
        settings = booster.sft if stage == "sft" else booster.dpo
        done = (self._results / generator / "boosters" / stage / "booster.json").exists()
        expected = self._plan.prompts(batch) * settings.epochs * self._config.planning.seconds_per_example
        return self._gpu(generator, f"{stage} train", expected, done, Path("boosters", generator, stage))

    def _gpu(self, generator: str, stage: str, expected: float, done: bool, job: Path) -> Row:
        """A stage that is one job, which took what its record in `benchmarks/` says."""
        if not done:
            return self._row(generator, stage, hours_to_do=expected / 3600)
        return self._row(generator, stage, hours_done=_seconds(self._benchmarks / f"{job}.tsv", expected) / 3600)

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

    def _proposed(self, generator: str, batch: str) -> bool:
        return (self._results / generator / batch / "prompts.parquet").exists()

    def _gathered(self, generator: str, batch: str) -> bool:
        return (self._results / generator / batch / "scores.parquet").exists()


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
    for generator, entry in config.generators.items():
        film, score = estimate.measured(generator, "videos"), estimate.measured(generator, "rewards")
        told = [_told("s a video", film, entry.seconds_per_video)]
        told.append(_told("s a score", score, config.planning.seconds_per_score))
        lines.append(f"{generator}: {', '.join(told)}")
    for name, operator in config.operators.items():
        if isinstance(operator, ChatConfig) and (spent := estimate.spent(name)).requests:
            money = f"{spent.money:,.2f} {operator.prices.currency}" if operator.prices else "no money"
            took = f"{spent.requests:,} requests, {spent.tokens:,} tokens and {money}"
            lines.append(f"operators.{name}: took {took} so far")
    lines.append(f"money in {config.planning.currency}; GPU hours are hours of one worker")
    return "\n".join(lines)


def _told(what: str, measured: timing.Timing, expected: float) -> str:
    if not measured.items:
        return f"{expected:g} {what} (expected; `snakemake pilot` measures it)"
    each = measured.seconds / measured.items
    return (
        f"{each:.2f} {what} (measured, {measured.items} on {measured.device}, peak {measured.peak_memory_mb:,.0f} MB)"
    )


def _seconds(benchmark: Path, expected: float) -> float:
    """What a job took, by the record that Snakemake keeps of it; what was expected where that is gone."""
    try:
        with benchmark.open(encoding="utf-8", newline="") as stream:
            return float(next(csv.DictReader(stream, delimiter="\t"))["s"])
    except (OSError, StopIteration, KeyError, TypeError, ValueError):
        return expected
