"""Read a source of captions once into the table that prompt sets are slices of."""

from promptavideo import cli
from promptavideo.steps import inputs

if __name__ == "__main__":
    cli.step(inputs.read_prompt_source, __doc__, "prompt_source")
