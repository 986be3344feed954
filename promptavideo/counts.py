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
    prompts. A set from a source that has not been read yet shares none, as far as is known.
    """

    def __init__(self, config: Config, root: Path, plan: Plan) -> None:
        """Take a configuration, the folder of its prompts and results, and its plan."""
        self._config, self._root, self._plan = config, root, plan
        self._ids = cache(self._read_ids)

    def of(self, generator: str, batches: Iterable[str]) -> dict[str, Count]:
        """The count of each batch; what two share counts for the one of which more is filmed."""
        keys = {batch: self._filmed(generator, batch) for batch in batches}
        seen_keys: set[str] = set()
        seen: dict[str, set[tuple[str, int]]] = defaultdict(set)  # prompts and replicates, by refiner
        found = {}
        for batch in sorted(keys, key=lambda batch: (not self.gathered(generator, batch), -len(keys[batch]))):
            done = len(keys[batch] - seen_keys)
            seen_keys |= keys[batch]
            videos = self._plan.prompts(batch) * self._plan.videos_per_prompt(batch)
            if (wanted := self._shown(batch)) is not None:
                refiner = batch.split("/")[2]
                videos = len(wanted - seen[refiner])
                seen[refiner] |= wanted
            if self.gathered(generator, batch):
                videos = done  # a late round may have found fewer prompts than were asked for
            found[batch] = Count(videos, done)
        return found

    def gathered(self, generator: str, batch: str) -> bool:
        """Whether a batch is filmed and scored as a whole."""
        return (self._root / "results" / generator / batch / "scores.parquet").exists()

    def _filmed(self, generator: str, batch: str) -> set[str]:
        manifests = (self._root / "results" / generator / batch / "videos").glob("*.jsonl")
        return {entry.key for path in manifests for entry in read_manifest(path)}

    def _shown(self, batch: str) -> set[tuple[str, int]] | None:
        """The prompts and replicates of an evaluation; None for another batch, and while the prompts are not here."""
        stage, *rest = batch.split("/")
        ids = self._ids(self._config.evaluation.sets[rest[0]].prompts) if stage == "evaluation" else None
        if ids is None:
            return None
        return {(one, number) for one in ids for number in range(self._plan.videos_per_prompt(batch))}

    def _read_ids(self, prompt_set: str) -> frozenset[str] | None:
        entry = self._config.prompt_sets[prompt_set]
        if not (self._root / entry.path).exists():
            return None
        return frozenset(load_prompt_set(prompt_set, entry, self._root)["prompt_id"])
