"""Draw several refined texts a prompt from a booster, to be filmed and compared."""

from promptavideo import cli
from promptavideo.steps import batches

if __name__ == "__main__":
    cli.step(batches.candidates, __doc__, "track", "batch")
