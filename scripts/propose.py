"""Make the prompts of one evolution round: the originals, or what the operator proposes from all scores so far."""

from promptavideo import cli
from promptavideo.steps import batches

if __name__ == "__main__":
    cli.step(batches.propose, __doc__, "track", "batch")
