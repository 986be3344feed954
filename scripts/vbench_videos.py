"""List an evaluation's videos for VBench, and link them under the names that it wants."""

from promptavideo import cli
from promptavideo.steps import vbench

if __name__ == "__main__":
    cli.step(vbench.list_videos, __doc__, "track", "batch")
