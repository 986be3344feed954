"""Read a prompt set from its file or source into a checked table."""

from promptavideo import cli
from promptavideo.steps import inputs

if __name__ == "__main__":
    cli.step(inputs.read_prompt_set, __doc__, "prompt_set")
