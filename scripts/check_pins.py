"""Ask pip's index whether every pin has a wheel for every promised Python and platform. Installs nothing."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.errors import InputError
from promptavideo.pins import PYTHONS, as_table, check

FILES = ("requirements.txt", "requirements-demo.txt", "requirements-dev.txt", "requirements-vbench.txt")

parser = cli.parser(__doc__)
parser.add_argument("--root", type=Path, default=Path(), help="the folder of the files")
parser.add_argument("--python", nargs="+", default=PYTHONS)
parser.add_argument("files", nargs="*", default=[*FILES])


def main(options: Namespace) -> None:
    """Print the table; what is missing is an error."""
    answers = check(options.root, options.files, options.python)
    cli.say(as_table(answers))
    if missing := sorted({pin for answer in answers for pin in answer.lacking}):
        raise InputError(f"no wheel everywhere of {', '.join(missing)}; choose versions that have one")


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
