"""Read a prompt set from its file or source into a checked table."""

from argparse import Namespace

from promptavideo import cli
from promptavideo.steps import inputs

parser = cli.parser(__doc__, "prompt_set")


def main(options: Namespace) -> None:
    """Do the step of the run's configuration."""
    inputs.read_prompt_set(cli.study(options), options.prompt_set)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
