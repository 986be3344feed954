"""Put together what a group of judges found of a batch, and record where it comes from."""

from promptavideo import cli
from promptavideo.steps import batches

if __name__ == "__main__":
    cli.step(batches.gather, __doc__, "track", "batch", "judges")
