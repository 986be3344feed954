"""How many videos each batch of a generator films, each counted once though several batches may show it."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from promptavideo.config import Config
from promptavideo.plan import Plan
from promptavideo.prompts import load_prompt_set
from promptavideo.store import read_manifest


@dataclass(frozen=True)
class Count:
    """Videos of one batch that no earlier batch has, at most, and those of them that are filmed."""

    videos: int
    done: int

    @property
    def left(self) -> int:
        """Those to film."""
        return max(0, self.videos - self.done)


class Counts:
    """Counts of a checked configuration and the manifests in `results/`.

    The same prompt, refined by the same refiner with the same replicate number, is one video: evaluation sets may share
    prompts. Sets from a source that has not been read yet share those at the same places of it, as far as is known.
    """

    def __init__(self, config: Config, root: Path, plan: Plan) -> None:
        """Take a configuration, the folder of its prompts and results, and its plan."""
        self._config, self._root, self._plan = config, root, plan
        self._ids = cache(self._read_ids)

    def of(self, generator: str, batches: Iterable[str]) -> dict[str, Count]:
        """The count of each batch, in the order given; what two share counts for the one of which more is filmed."""
        keys = {batch: self._filmed(generator, batch) for batch in batches}
        seen_keys: set[str] = set()
        seen: dict[str, set[tuple[str, int]]] = defaultdict(set)  # prompts and replicates, by refiner
        found = {}
        for batch in sorted(keys, key=lambda batch: (not self.complete(generator, batch), -len(keys[batch]))):
            done = len(keys[batch] - seen_keys)
            seen_keys |= keys[batch]
            videos = self._plan.prompts(batch) * self._plan.videos_per_prompt(batch)
            if batch.startswith("evaluation/"):
                _, name, refiner = batch.split("/")
                numbers = range(self._plan.videos_per_prompt(batch))
                wanted = {(one, number) for one in self._ids(name) for number in numbers}
                videos = len(wanted - seen[refiner])
                seen[refiner] |= wanted
            if self.complete(generator, batch):
                videos = done  # a late round may have found fewer prompts, and two texts of a batch may be the same
            found[batch] = Count(videos, done)
        return {batch: found[batch] for batch in keys}

    def asked(self, generator: str, batch: str) -> int:
        """Prompts of an evaluation about which its refiner is asked there first: an answer is kept for all."""
        _, name, refiner = batch.split("/")
        generators = list(self._config.generators)
        before = generators[: generators.index(generator)]
        if any(refiner in self._config.evaluation.compared(one) for one in before):
            return 0
        sets = list(self._config.evaluation.sets)
        return len(self._ids(name).difference(*map(self._ids, sets[: sets.index(name)])))

    def gathered(self, generator: str, batch: str) -> bool:
        """Whether a batch is filmed and scored as a whole."""
        return (self._root / "results" / generator / batch / "scores.parquet").exists()

    def complete(self, generator: str, batch: str) -> bool:
        """Whether a batch is filmed as a whole."""
        videos = self._root / "results" / generator / batch / "videos"
        shards = self._plan.shards(generator, batch)
        return self.gathered(generator, batch) or all((videos / f"{shard}.jsonl").exists() for shard in shards)

    @staticmethod
    def made_by(batch: str) -> list[str]:
        """The batches that film a batch's videos: a pilot's are the first ones of round 0."""
        return [batch, "pilot"] if batch == "evolution/round-0" else [batch]

    def _filmed(self, generator: str, batch: str) -> set[str]:
        made_by = [batch] if self.complete(generator, batch) else self.made_by(batch)
        folders = [self._root / "results" / generator / one / "videos" for one in made_by]
        return {entry.key for folder in folders for path in folder.glob("*.jsonl") for entry in read_manifest(path)}

    def _read_ids(self, evaluation_set: str) -> frozenset[str]:
        """The ids of an evaluation set's prompts; their places in the source while that is not here."""
        name = self._config.evaluation.sets[evaluation_set].prompts
        entry = self._config.prompt_sets[name]
        if entry.source is not None and not (self._root / entry.path).exists():
            places = range(entry.first, entry.first + (entry.count or 0))
            return frozenset(f"{entry.source} {place}" for place in places)
        return frozenset(load_prompt_set(name, entry, self._root)["prompt_id"])
