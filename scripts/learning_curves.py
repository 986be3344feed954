"""Draw how a track's evolution and trainings went."""

from promptavideo import cli
from promptavideo.steps import tables

if __name__ == "__main__":
    cli.step(tables.learning_curves, __doc__, "track")
