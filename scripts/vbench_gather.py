"""Put VBench's results of a batch together, and record where they come from."""

import json
from argparse import Namespace
from collections import Counter
from pathlib import Path

from promptavideo import cli, provenance, timing
from promptavideo.files import atomic_path
from promptavideo.hardware import environment
from promptavideo.prompts import PromptSet
from promptavideo.schemas import VBENCH_SCORES, write_table
from promptavideo.store import Store, read_manifest
from promptavideo.vbench.config import VBenchSet
from promptavideo.vbench.evaluate import read_result
from promptavideo.vbench.listing import LISTING, read_listing
from promptavideo.vbench.scores import join
from promptavideo.vbench.staged import read_staged

parser = cli.parser(__doc__)
parser.add_argument("folder", type=Path, help="of the evaluation; gets scores.parquet and scores.provenance.json")
parser.add_argument("--settings", type=cli.settings(VBenchSet), required=True)
parser.add_argument("--results", type=Path, nargs="+", required=True)
parser.add_argument("--manifests", type=Path, nargs="+", required=True, help="of the batch's videos")
parser.add_argument("--checkpoints", type=Path, nargs="*", default=[], help="records of those that were used")
parser.add_argument("--generator", type=json.loads, required=True, help="its configuration entry, for the record")
parser.add_argument("--models", type=json.loads, required=True, help="names of the models that it loads")
parser.add_argument("--written", type=Path, nargs="*", default=[], help="the records of what wrote the texts")
parser.add_argument("--prompt-set", required=True, help="name of the batch's prompt set")
parser.add_argument("--prompts", type=cli.settings(PromptSet), required=True, help="its entry")
parser.add_argument("--store", type=Path, required=True, help="the generator's part of the store")
parser.add_argument("--run", type=json.loads, required=True, help="what else to record of the run")


def main(options: Namespace) -> None:
    """Read, join, check and write; the record comes first, since the table is what others wait for."""
    results = [read_result(path) for path in options.results]
    table = join(read_listing(options.folder / LISTING), options.settings.names, results)
    entries = [entry for path in options.manifests for entry in read_manifest(path)]
    origin = {"code": provenance.code_version(Path()), "environment": environment(provenance.ARITHMETIC)} | options.run
    origin |= {"generator": options.generator, "vbench": options.settings.model_dump(mode="json")}
    origin |= {"prompt_set": provenance.prompt_set(options.prompt_set, options.prompts, Path())}
    origin |= {"models": [provenance.model(Path("resources/models", name)) for name in options.models]}
    origin |= {"checkpoints": [read_staged(path).model_dump() for path in options.checkpoints]}
    origin |= {
        "filming": provenance.filming(entries, Store(options.store.parent, options.store.name)),
        "videos": int(table["key"].nunique()),
        "prompts": int(table["prompt_id"].nunique()),
        **provenance.written([timing.read(path) for path in options.written]),
        **provenance.filmed(entries),
        "scored_on": dict(Counter(result.device for result in results for _ in result.judged)),
        "vbench_versions": [
            dict(one) for one in sorted({tuple(sorted(result.versions.items())) for result in results})
        ],
    }
    with atomic_path(options.folder / "scores.provenance.json") as partial:
        partial.write_text(json.dumps(origin, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    write_table(table, options.folder / "scores.parquet", VBENCH_SCORES)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
