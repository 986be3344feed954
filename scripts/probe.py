"""Measure for a second how fast this machine films and trains, and print it as JSON."""

from argparse import Namespace

from pydantic import TypeAdapter

from promptavideo import cli, probe

parser = cli.parser(__doc__)
parser.add_argument("--asked", type=cli.settings(probe.Asked), required=True, help="JSON: what to measure")


def main(options: Namespace) -> None:
    """Measure and print."""
    cli.say(TypeAdapter(probe.Probe).dump_json(probe.measure(options.asked)).decode())


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
