"""What a run takes and what of it is done: videos, requests, tokens, GPU-hours and money, by generator and stage."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from promptavideo import timing
from promptavideo.config import Config
from promptavideo.generators.api import OpenAIVideoConfig
from promptavideo.operators import ChatConfig
from promptavideo.plan import Plan
from promptavideo.refiners import BoosterRefinerConfig, LlmRefinerConfig
from promptavideo.store import read_manifest


@dataclass(frozen=True)
class Row:
    """One stage of one generator; `to_do` columns are what remains, in hours and in the configuration's currency."""

    generator: str
    stage: str
    videos: int = 0
    videos_done: int = 0
    requests: int = 0
    requests_done: int = 0
    tokens_to_do: int = 0
    gpu_hours_to_do: float = 0.0
    money_to_do: float = 0.0


class Estimate:
    """Reckons a checked configuration against what lies in `results/`.

    What is measured replaces what the configuration expects: seconds a video and its scores, from the generator's jobs
    that are done. A stage whose data are not there yet is reckoned at its largest: every prompt gives a pair, a triple,
    and as many variants as are asked for.
    """

    def __init__(self, config: Config, root: Path) -> None:
        self._config, self._results = config, root / "results"
        self._plan = Plan(config, root)

    def rows(self, generator: str) -> list[Row]:
        """Every stage of one generator, in the order of the method."""
        rows: list[Row] = []
        last_round = f"evolution/round-{self._config.evolution.rounds}"
        for batch in self._plan.batches(generator):
            rows += self._texts(generator, batch)
            rows.append(self._films(generator, batch))
            if batch == last_round:
                rows.append(self._training(generator, "sft", batch))
            elif batch in self._config.stages:
                rows.append(self._training(generator, batch, batch))
        return rows

    def measured(self, generator: str, kind: str) -> timing.Timing:
        """Sums over the timing records of a generator's jobs; `kind` is `videos` or `rewards`."""
        total = timing.Timing()
        for path in sorted((self._results / generator).rglob(f"{kind}/*.timing.json")):
            one = timing.read(path)
            if one.items:
                total.items += one.items
                total.seconds += one.seconds
                total.device = one.device
                total.peak_memory_mb = max(total.peak_memory_mb, one.peak_memory_mb)
        return total

    def _films(self, generator: str, batch: str) -> Row:
        entry = self._config.generators[generator]
        videos = self._plan.prompts(batch) * self._plan.videos_per_prompt(batch)
        manifests = (self._results / generator / batch / "videos").glob("*.jsonl")
        done = sum(len(read_manifest(path)) for path in manifests)
        if self._gathered(generator, batch):
            videos = done  # a late round may have found fewer prompts than were asked for
        film, score = self.measured(generator, "videos"), self.measured(generator, "rewards")
        filming = film.seconds / film.items if film.items else entry.seconds_per_video
        scoring = score.seconds / score.items if score.items else self._config.planning.seconds_per_score
        price = 0.0
        if isinstance(entry, OpenAIVideoConfig):  # films on somebody else's GPU
            filming, price = 0.0, entry.seconds * (entry.price_per_second or 0.0)
        hours = (videos - done) * (filming + scoring) / 3600
        money = hours * self._config.planning.gpu_hour_price + (videos - done) * price
        return Row(generator, f"{batch} film", videos, done, gpu_hours_to_do=hours, money_to_do=money)

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
        to_do = count - done
        paid = isinstance(operator, ChatConfig)
        tokens = to_do * (planning.request_tokens + planning.answer_tokens) if paid else 0
        money = 0.0
        if isinstance(operator, ChatConfig) and operator.prices:
            money = operator.prices.of(to_do * planning.request_tokens, to_do * planning.answer_tokens)
        return Row(
            generator, f"{batch} ask {name}", requests=count, requests_done=done, tokens_to_do=tokens, money_to_do=money
        )

    def _answers(self, generator: str, batch: str, count: int) -> Row:
        to_do = 0 if self._proposed(generator, batch) else count
        return self._gpu(generator, f"{batch} sample", to_do * self._config.planning.seconds_per_text)

    def _training(self, generator: str, stage: str, batch: str) -> Row:
        booster = self._config.booster
        settings = booster.sft if stage == "sft" else booster.dpo
        done = (self._results / generator / "boosters" / stage / "booster.json").exists()
        examples = 0.0 if done else self._plan.prompts(batch) * settings.epochs
        return self._gpu(generator, f"{stage} train", examples * self._config.planning.seconds_per_example)

    def _gpu(self, generator: str, stage: str, seconds: float) -> Row:
        hours = seconds / 3600
        return Row(generator, stage, gpu_hours_to_do=hours, money_to_do=hours * self._config.planning.gpu_hour_price)

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
    """The table as text, with a line a generator that says what its times rest on."""
    lines = [table.to_string(index=False, float_format="{:,.2f}".format), ""]
    for generator, entry in config.generators.items():
        film, score = estimate.measured(generator, "videos"), estimate.measured(generator, "rewards")
        told = [_told("s a video", film, entry.seconds_per_video)]
        told.append(_told("s a score", score, config.planning.seconds_per_score))
        lines.append(f"{generator}: {', '.join(told)}")
    lines.append(f"money in {config.planning.currency}; GPU hours are hours of one worker")
    return "\n".join(lines)


def _told(what: str, measured: timing.Timing, expected: float) -> str:
    if not measured.items:
        return f"{expected:g} {what} (expected; `snakemake pilot` measures it)"
    each = measured.seconds / measured.items
    return (
        f"{each:.2f} {what} (measured, {measured.items} on {measured.device}, peak {measured.peak_memory_mb:,.0f} MB)"
    )
