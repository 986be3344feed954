"""Compare the refiners of all tracks (scope `tables`), or of one (TRACK/tables), by VBench."""

from promptavideo import cli
from promptavideo.steps import tables

if __name__ == "__main__":
    cli.step(tables.vbench, __doc__, "scope", "table")
