"""Film one shard of a batch."""

from promptavideo import cli
from promptavideo.steps import batches

if __name__ == "__main__":
    cli.step(batches.film, __doc__, "track", "batch", "shard")
