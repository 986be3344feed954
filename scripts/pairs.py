"""Select SFT pairs: of each prompt the best evolved text."""

from promptavideo import cli
from promptavideo.steps import learning

if __name__ == "__main__":
    cli.step(learning.pairs, __doc__, "track")
