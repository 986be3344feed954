"""Draw how the trainings of a track's boosters went."""

from promptavideo import cli
from promptavideo.steps import tables

if __name__ == "__main__":
    cli.step(tables.training_curves, __doc__, "track")
