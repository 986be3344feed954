"""Every path of a workspace, once: for rules, where a name may be a wildcard such as `{track}`, and for all others."""

from dataclasses import dataclass

SHARED = "shared"
"""What stands for the track of boosters that several tracks share."""

RESERVED = (SHARED, "tables", "figures", "boosters", "prompt_sets", "gallery", "study")
"""Names in `results/` that no track may have."""

GALLERY = "results/gallery/index.html"
"""The page on which the evaluation's videos play; its copies of them are beside it."""

REWARDS = "rewards"
"""The group of judges whose metrics select and train; any other judge is a group of its own, by its name."""


@dataclass(frozen=True)
class BatchFiles:
    """The files of one batch."""

    folder: str

    @property
    def prompts(self) -> str:
        """What is filmed, a `schemas.PROMPTS` table."""
        return f"{self.folder}/prompts.parquet"

    @property
    def writing(self) -> str:
        """What wrote the texts, and how fast; of texts that a network or an operator wrote for it."""
        return f"{self.folder}/prompts.timing.json"

    @property
    def triples(self) -> str:
        """What a booster learns from the batch."""
        return f"{self.folder}/triples.parquet"

    def manifest(self, shard: str) -> str:
        """The videos of a shard."""
        return f"{self.folder}/videos/{shard}.jsonl"

    def filming(self, shard: str) -> str:
        """How fast a shard was filmed, and on what."""
        return f"{self.folder}/videos/{shard}.timing.json"

    def judged(self, judges: str, shard: str) -> str:
        """A shard's metrics."""
        return f"{self.folder}/{judges}/{shard}.parquet"

    def judging(self, judges: str, shard: str) -> str:
        """How fast a shard was scored, and on what."""
        return f"{self.folder}/{judges}/{shard}.timing.json"

    def scores(self, judges: str) -> str:
        """The metrics of the whole batch."""
        return f"{self.folder}/{judges}/scores.parquet"

    def origin(self, judges: str) -> str:
        """Where these come from."""
        return f"{self.folder}/{judges}/scores.provenance.json"

    @property
    def listing(self) -> str:
        """The videos under the names that VBench wants."""
        return f"{self.folder}/vbench/videos.json"

    def dimension(self, dimension: str, shard: str) -> str:
        """What VBench found of a shard in one dimension."""
        return f"{self.folder}/vbench/{dimension}/{shard}.json"


@dataclass(frozen=True)
class BoosterFiles:
    """The files of one booster."""

    folder: str

    @property
    def card(self) -> str:
        """What it is and was made from; written last."""
        return f"{self.folder}/booster.json"

    @property
    def adapter(self) -> str:
        """The folder of its weights."""
        return f"{self.folder}/adapter"

    @property
    def log(self) -> str:
        """The losses of every step."""
        return f"{self.folder}/log.csv"


@dataclass(frozen=True)
class Layout:
    """Where everything is, relative to the workspace."""

    store: str = "store"
    """The configuration's folder of what survives killed jobs."""

    models = "resources/models"
    """The folder of all fetched models."""
    base = "results/boosters/base.json"
    """The record that the boosters' base model can be one."""
    vbench_rows = "resources/vbench/vbench.jsonl"
    """VBench's list of prompts."""
    vbench_ablation = "resources/vbench/vbench100.jsonl"
    """The part of it of the paper's ablations."""
    vbench_cache = "resources/vbench/cache"
    """The folder of VBench's checkpoints."""
    study_plan = "results/study/plan.json"
    """Who sees which videos in the user study; not for raters."""
    study_site = "results/study/site"
    """The folder that raters see."""
    study_page = "results/study/site/index.html"
    """Its page, written when all else is there."""
    study_votes = "results/study/votes.parquet"
    """The votes that count."""
    study_record = "results/study/votes.json"
    """What was left out of them, and why."""

    def checkpoints(self, track: str) -> str:
        """The folder of a track's unfinished trainings; finished ones are in `boosters` beside it, by a digest."""
        return f"{self.store}/{track}/checkpoints"

    @property
    def ledger(self) -> str:
        """What was asked of operators, and what it cost."""
        return f"{self.store}/chat/ledger.jsonl"

    def model(self, name: str) -> str:
        """The folder of a fetched model."""
        return f"{self.models}/{name}"

    def manifest(self, model: str) -> str:
        """The record that a model is there, whole."""
        return f"{self.models}/{model}/manifest.json"

    @staticmethod
    def checkpoint(name: str) -> str:
        """The record that a checkpoint of VBench is there."""
        return f"resources/vbench/checkpoints/{name}.json"

    @staticmethod
    def prompt_source(name: str) -> str:
        """The captions of a source."""
        return f"resources/prompts/{name}.parquet"

    @staticmethod
    def source_record(name: str) -> str:
        """A source's files, counts and dropped rows."""
        return f"resources/prompts/{name}.json"

    @staticmethod
    def pair_source(name: str) -> str:
        """The released pairs of a source."""
        return f"resources/pairs/{name}.parquet"

    @staticmethod
    def pair_record(name: str) -> str:
        """Such a source's files, counts and rows that were left out."""
        return f"resources/pairs/{name}.json"

    @staticmethod
    def instruction(refiner: str) -> str:
        """What a refiner is asked with, if that is read out of a published file."""
        return f"resources/instructions/{refiner}.txt"

    @staticmethod
    def prompt_set(name: str) -> str:
        """A checked prompt set."""
        return f"results/prompt_sets/{name}.parquet"

    @staticmethod
    def track(name: str) -> str:
        """The folder of a track."""
        return f"results/{name}"

    def batch(self, track: str, name: str) -> BatchFiles:
        """The files of a batch."""
        return BatchFiles(f"{self.track(track)}/{name}")

    def pairs(self, track: str) -> str:
        """What evolution gives boosters to learn from."""
        return f"{self.track(track)}/pairs.parquet"

    def negatives(self, track: str) -> str:
        """What boosters of negative prompts learn from."""
        return f"{self.track(track)}/negatives.parquet"

    def negatives_record(self, track: str) -> str:
        """What was dropped of them, and how fast they were written."""
        return f"{self.track(track)}/negatives.timing.json"

    def reader(self, track: str) -> str:
        """What its generator reads of a text."""
        return f"{self.track(track)}/reader.json"

    def booster(self, track: str, name: str) -> BoosterFiles:
        """The files of a booster; `SHARED` is the track of one that several tracks share."""
        return BoosterFiles(f"{self.track(track)}/boosters/{name}")

    @staticmethod
    def log(rule: str, *names: str) -> str:
        """Where a job logs."""
        return "/".join(("logs", rule, *names)) + ".log"

    @staticmethod
    def benchmark(rule: str, *names: str) -> str:
        """What Snakemake measures of a job."""
        return "/".join(("benchmarks", rule, *names)) + ".tsv"
