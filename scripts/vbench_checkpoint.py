"""Put one of VBench's checkpoints on disk, verified."""

from promptavideo import cli
from promptavideo.steps import vbench

if __name__ == "__main__":
    cli.step(vbench.fetch_checkpoint, __doc__, "checkpoint")
