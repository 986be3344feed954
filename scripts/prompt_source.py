"""Read a source of captions once into the table that prompt sets are slices of."""

from argparse import Namespace

from promptavideo import cli
from promptavideo.steps import inputs

parser = cli.parser(__doc__, "prompt_source")


def main(options: Namespace) -> None:
    """Do the step of the run's configuration."""
    inputs.read_prompt_source(cli.study(options), options.prompt_source)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
