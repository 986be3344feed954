"""How many videos each batch of a track films, each counted once though several batches may show it."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from promptavideo.batches import Batch, Originals, Refine
from promptavideo.layout import REWARDS
from promptavideo.prompts import load_prompt_set
from promptavideo.store import read_manifest
from promptavideo.study import Study


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

    def __init__(self, study: Study, root: Path) -> None:
        """Take a run and the folder of its prompts and results."""
        self._study, self._root = study, root
        self._ids = cache(self._read_ids)

    def of(self, batches: Iterable[Batch]) -> dict[Batch, Count]:
        """The count of each batch, in the order given; what two share counts for the one of which more is filmed."""
        keys = {batch: self._filmed(batch) for batch in batches}
        seen_keys: set[str] = set()
        seen: dict[str, set[tuple[str, int]]] = defaultdict(set)  # prompts and replicates, by refiner
        found = {}
        for batch in sorted(keys, key=lambda batch: (not self.complete(batch), -len(keys[batch]))):
            done = len(keys[batch] - seen_keys)
            seen_keys |= keys[batch]
            videos = self._study.prompts(batch) * batch.per_prompt
            if isinstance(batch.source, Refine):
                wanted = {(one, number) for one in self._ids(batch.prompts) for number in range(batch.per_prompt)}
                videos = len(wanted - seen[batch.source.refiner])
                seen[batch.source.refiner] |= wanted
            if self.complete(batch):
                videos = done  # a late round may have found fewer prompts, and two texts of a batch may be the same
            found[batch] = Count(videos, done)
        return {batch: found[batch] for batch in keys}

    def asked(self, batch: Batch) -> int:
        """Prompts of an evaluation about which its refiner is asked there first: an answer is kept for all."""
        assert isinstance(batch.source, Refine)
        study, config, refiner = self._study, self._study.config, batch.source.refiner
        before = study.tracks[: study.tracks.index(batch.track)]
        # Of other media other instructions ask.
        alike = (one for one in before if study.medium(one) == study.medium(batch.track))
        if any(refiner in config.evaluation.compared(track) for track in alike):
            return 0
        sets = study.sets(batch.track)
        earlier = (config.evaluation.sets[name].prompts for name in sets[: sets.index(batch.source.set)])
        return len(self._ids(batch.prompts).difference(*map(self._ids, earlier)))

    def complete(self, batch: Batch) -> bool:
        """Whether a batch is filmed as a whole."""
        gathered = self._root / self._study.files(batch).scores(REWARDS)
        return gathered.exists() or all((self._root / one).exists() for one in self._study.manifests(batch))

    def made_by(self, batch: Batch) -> list[Batch]:
        """The batches that film a batch's videos: a pilot's are the first ones of round 0."""
        return [batch, self._study.pilot(batch.track)] if isinstance(batch.source, Originals) else [batch]

    def _filmed(self, batch: Batch) -> set[str]:
        made_by = [batch] if self.complete(batch) else self.made_by(batch)
        folders = [(self._root / self._study.files(one).manifest("")).parent for one in made_by]
        return {entry.key for folder in folders for path in folder.glob("*.jsonl") for entry in read_manifest(path)}

    def _read_ids(self, prompt_set: str) -> frozenset[str]:
        """The ids of a set's prompts; their places in the source while that is not here."""
        entry = self._study.config.prompt_sets[prompt_set]
        if entry.source is not None and not (self._root / entry.path).exists():
            places = range(entry.first, entry.first + (entry.count or 0))
            return frozenset(f"{entry.source} {place}" for place in places)
        return frozenset(load_prompt_set(prompt_set, entry, self._root)["prompt_id"])
