"""Read the votes of the user study into one table."""

from promptavideo import cli
from promptavideo.steps import rating

if __name__ == "__main__":
    cli.step(rating.collect, __doc__)
