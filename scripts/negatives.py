"""Derive the negative prompts of evolved texts, for boosters of negative prompts to learn from."""

from promptavideo import cli
from promptavideo.steps import learning

if __name__ == "__main__":
    cli.step(learning.negatives, __doc__, "track")
