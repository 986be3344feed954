"""Put one model of the registry on disk, verified."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.models import ModelEntry, fetch, requires

parser = cli.parser(__doc__)
parser.add_argument("name")
parser.add_argument("--entry", type=cli.settings(ModelEntry), required=True)
parser.add_argument("--models", type=Path, required=True, help="folder of all models")


def main(options: Namespace) -> None:
    """Fetch the model into its folder."""
    needed = {name: options.models / name for name in requires(options.entry)}
    fetch(options.name, options.entry, options.models / options.name, needed)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
