"""Compare the refiners of all tracks (scope `tables`), or of one (TRACK/tables), on the rewards."""

from promptavideo import cli
from promptavideo.steps import tables

if __name__ == "__main__":
    cli.step(tables.videoscore, __doc__, "scope")
