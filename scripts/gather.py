"""Join a batch's prompts with the rewards of its shards, and record where they come from."""

import json
from argparse import Namespace
from pathlib import Path

from promptavideo import cli, provenance, timing
from promptavideo.files import atomic_path
from promptavideo.hardware import environment
from promptavideo.prompts import PromptSet
from promptavideo.schemas import PROMPTS, REWARDS, SCORES, read_table, write_table
from promptavideo.scoring import gather
from promptavideo.store import Store, read_manifest

parser = cli.parser(__doc__)
parser.add_argument("batch", type=Path, help="the batch's folder; gets scores.parquet and scores.provenance.json")
parser.add_argument("--filmed", type=int, required=True, help="how many shards were filmed")
parser.add_argument("--scored", type=int, required=True, help="how many jobs scored them")
parser.add_argument("--generator", type=json.loads, required=True, help="its configuration entry, for the record")
parser.add_argument("--rewards", type=json.loads, required=True, help="likewise")
parser.add_argument("--models", type=json.loads, required=True, help="names of the models that both load")
parser.add_argument("--written", type=Path, nargs="*", default=[], help="the records of what wrote the texts")
parser.add_argument("--prompt-set", required=True, help="name of the batch's prompt set")
parser.add_argument("--prompts", type=cli.settings(PromptSet), required=True, help="its entry")
parser.add_argument("--store", type=Path, required=True, help="the generator's part of the store")
parser.add_argument("--run", type=json.loads, required=True, help="what else to record of the run")


def main(options: Namespace) -> None:
    """Read, join, check and write; the record comes first, since the table is what others wait for."""
    filmed, scored = ([f"{number:04}" for number in range(count)] for count in (options.filmed, options.scored))
    rewards = [read_table(options.batch / "rewards" / f"{name}.parquet", REWARDS) for name in scored]
    table = gather(read_table(options.batch / "prompts.parquet", PROMPTS), rewards)
    origin = {"code": provenance.code_version(Path()), "environment": environment(provenance.ARITHMETIC)} | options.run
    origin |= {"generator": options.generator, "rewards": options.rewards}
    origin |= {"prompt_set": provenance.prompt_set(options.prompt_set, options.prompts, Path())}
    origin |= {"models": [provenance.model(Path("resources/models", name)) for name in options.models]}
    entries = [entry for shard in filmed for entry in read_manifest(options.batch / "videos" / f"{shard}.jsonl")]
    scoring = [timing.read(options.batch / "rewards" / f"{name}.timing.json") for name in scored]
    origin |= provenance.videos(table, entries, scoring, [timing.read(path) for path in options.written])
    store = Store(options.store.parent, options.store.name)
    origin |= {"filming": provenance.filming(entries, store), "scoring": provenance.jobs(scoring)}
    with atomic_path(options.batch / "scores.provenance.json") as partial:
        partial.write_text(json.dumps(origin, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    write_table(table, options.batch / "scores.parquet", SCORES)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
