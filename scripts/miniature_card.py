"""Measure how well a generator trained on the synthetic world follows its prompts; write its card."""

from argparse import Namespace

from promptavideo import cli
from promptavideo.steps import inputs

parser = cli.parser(__doc__, "generator")


def main(options: Namespace) -> None:
    """Do the step of the run's configuration."""
    inputs.measure_card(cli.study(options), options.generator)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
