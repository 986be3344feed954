"""Select DPO triples: of each prompt a better and a worse candidate."""

from promptavideo import cli
from promptavideo.steps import learning

if __name__ == "__main__":
    cli.step(learning.triples, __doc__, "track", "batch")
