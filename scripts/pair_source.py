"""Read a source of released pairs once into the table that boosters learn from."""

from promptavideo import cli
from promptavideo.steps import inputs

if __name__ == "__main__":
    cli.step(inputs.read_pair_source, __doc__, "pair_source")
