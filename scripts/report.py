"""Draw the scores by stage and write the report."""

from promptavideo import cli
from promptavideo.steps import tables

if __name__ == "__main__":
    cli.step(tables.report, __doc__)
