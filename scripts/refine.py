"""Rewrite a prompt set with one refiner, ready to be filmed."""

from promptavideo import cli
from promptavideo.steps import batches

if __name__ == "__main__":
    cli.step(batches.refine, __doc__, "track", "batch")
