"""Draw how a track's evolution went."""

from promptavideo import cli
from promptavideo.steps import tables

if __name__ == "__main__":
    cli.step(tables.evolution_curve, __doc__, "track")
