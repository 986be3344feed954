"""Read VBench's list of prompts out of its wheel: the whole, and the part of the paper's ablations."""

from argparse import Namespace

from promptavideo import cli
from promptavideo.steps import vbench

parser = cli.parser(__doc__)


def main(options: Namespace) -> None:
    """Do the step of the run's configuration."""
    vbench.read_prompts(cli.study(options))


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
