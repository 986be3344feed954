"""Choose the prompts of the pilot: the first ones of the evolution, so that it films nothing of its own."""

from promptavideo import cli
from promptavideo.steps import batches

if __name__ == "__main__":
    cli.step(batches.pilot_prompts, __doc__, "track")
