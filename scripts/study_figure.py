"""Draw the figure of one of the tables that compare all tracks."""

from promptavideo import cli
from promptavideo.steps import tables

if __name__ == "__main__":
    cli.step(tables.study_figure, __doc__, "table")
