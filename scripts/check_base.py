"""Check that a base model can be a booster's, before anything is filmed for its training."""

import json
from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.boosters.base import check_base
from promptavideo.boosters.config import BoosterConfig
from promptavideo.files import atomic_path

parser = cli.parser(__doc__)
parser.add_argument("base", type=Path, help="the model's folder")
parser.add_argument("--settings", type=cli.settings(BoosterConfig), required=True)
parser.add_argument("--output", type=Path, required=True, help="gets a record of what was found")


def main(options: Namespace) -> None:
    """Check and record."""
    record = {"base": options.base.name, **check_base(options.base, options.settings)}
    with atomic_path(options.output) as partial:
        partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
