"""Compare the refiners of all tracks (scope `tables`), or of one (TRACK/tables), in one of the tables."""

from promptavideo import cli
from promptavideo.steps import tables

if __name__ == "__main__":
    cli.step(tables.compare, __doc__, "scope", "table")
