"""Read a prompt set from its file into a checked table."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.prompts import PromptSet, load_prompt_set
from promptavideo.schemas import PROMPT_SET, write_table

parser = cli.parser(__doc__)
parser.add_argument("name")
parser.add_argument("--settings", type=cli.settings(PromptSet), required=True)
parser.add_argument("--output", type=Path, required=True)


def main(options: Namespace) -> None:
    """Read, check and write."""
    write_table(load_prompt_set(options.name, options.settings, Path()), options.output, PROMPT_SET)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
