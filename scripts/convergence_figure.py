"""Draw what each stage of the boosters' chain gains, and at what price."""

from promptavideo import cli
from promptavideo.steps import tables

if __name__ == "__main__":
    cli.step(tables.convergence_figure, __doc__)
