"""Draw videos of some prompts for a paper, and write down how the prompts were chosen."""

from promptavideo import cli
from promptavideo.steps import pictures

if __name__ == "__main__":
    cli.step(pictures.qualitative, __doc__)
