"""Train a booster on its pairs or triples; a killed training resumes from its last checkpoint."""

from argparse import Namespace

from promptavideo import cli
from promptavideo.boosters import launch
from promptavideo.steps import learning

parser = cli.parser(__doc__, "home", "booster")


def main(options: Namespace) -> None:
    """Train and save the next adapter of the chain; with several devices, start this script once for each."""
    learning.train(cli.study(options), options.home, options.booster)


if __name__ == "__main__":
    launch.follow_launcher()
    arguments = parser.parse_args()
    if arguments.log and launch.rank():
        arguments.log = arguments.log.with_suffix(f".rank-{launch.rank()}.log")  # the first process owns the log
    with launch.leave_at_once():
        cli.run(arguments, main)
