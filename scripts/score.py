"""Judge the videos, or the texts, of one shard of a batch by a group of judges."""

from promptavideo import cli
from promptavideo.steps import batches

if __name__ == "__main__":
    cli.step(batches.score, __doc__, "track", "batch", "judges", "shard")
