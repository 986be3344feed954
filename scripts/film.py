"""Film one shard of a prompts table."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.filming import check_negatives, film_shard
from promptavideo.generators import GeneratorConfig, load_generator
from promptavideo.schemas import PROMPTS, read_table
from promptavideo.shards import shard_rows
from promptavideo.store import Store
from promptavideo.timing import Timing

parser = cli.parser(__doc__)
parser.add_argument("--prompts", type=Path, required=True)
parser.add_argument("--shard", type=int, required=True)
parser.add_argument("--shard-size", type=int, required=True, help="prompts in a shard")
parser.add_argument("--generator", required=True)
parser.add_argument("--settings", type=cli.settings(GeneratorConfig), required=True)
parser.add_argument("--models", type=Path, required=True, help="folder of all models")
parser.add_argument("--store", type=Path, required=True)
parser.add_argument("--manifest", type=Path, required=True)
parser.add_argument("--timing", type=Path, required=True, help="gets what this job filmed, and how fast")
parser.add_argument("--stage", required=True, help="name of this work in progress lines")


def main(options: Namespace) -> None:
    """Load the generator once and film what the store does not hold."""
    rows = shard_rows(read_table(options.prompts, PROMPTS), options.shard, options.shard_size)
    check_negatives(rows, options.settings, options.generator)
    store = Store(options.store, options.generator)
    folders = [options.models / name for name in options.settings.models]
    generator = load_generator(options.settings, folders, options.generator, store.work)
    timing = Timing()
    film_shard(rows, generator, store, options.manifest, options.stage, timing)
    timing.circumstances = generator.circumstances()
    timing.write(options.timing)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
