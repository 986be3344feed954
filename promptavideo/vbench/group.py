"""VBench's dimensions as a group of judges."""

from collections import Counter
from pathlib import Path
from typing import Any

from promptavideo.batches import Batch
from promptavideo.judging import Gathered, Group


class VBenchGroup(Group):
    """What VBench's jobs found, one for each dimension and shard."""

    def decides(self, batch: Batch) -> dict[str, Any]:
        """How the set is judged."""
        return self.study.vbench.set_of(batch).decides()

    def results(self, batch: Batch) -> list[str]:
        """VBench's result of each dimension and shard, and the list of what was to be judged."""
        return [self.study.files(batch).listing, *self.study.vbench.results(batch)]

    def records(self, batch: Batch) -> list[str]:
        """Of the checkpoints that the set's dimensions need."""
        return self.study.vbench.records(*self.study.vbench.set_of(batch).names)

    def join(self, batch: Batch) -> Gathered:
        """One row a video and dimension."""
        from promptavideo.schemas import VBENCH_SCORES
        from promptavideo.vbench.evaluate import read_result
        from promptavideo.vbench.listing import read_listing
        from promptavideo.vbench.scores import join
        from promptavideo.vbench.staged import read_staged

        plan = self.study.vbench
        settings, listing = plan.set_of(batch), read_listing(Path(self.study.files(batch).listing))
        results = [read_result(Path(path)) for path in plan.results(batch)]
        table = join(listing, settings.names, results)
        record = {
            "vbench": settings.decides(),
            "checkpoints": [read_staged(Path(path)).model_dump() for path in self.records(batch)],
            "videos": int(table["key"].nunique()),
            "prompts": int(table["prompt_id"].nunique()),
            "scored_on": dict(Counter(result.device for result in results for _ in result.judged)),
            "vbench_versions": [
                dict(one) for one in sorted({tuple(sorted(result.versions.items())) for result in results})
            ],
        }
        return Gathered(table, VBENCH_SCORES, record)
