"""Read VBench's list of prompts out of its wheel: the whole, and the part of the paper's ablations."""

from promptavideo import cli
from promptavideo.steps import vbench

if __name__ == "__main__":
    cli.step(vbench.read_prompts, __doc__)
