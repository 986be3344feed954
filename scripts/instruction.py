"""Read a refiner's instruction out of a published file, into a text file with the placeholder $prompt."""

from promptavideo import cli
from promptavideo.steps import inputs

if __name__ == "__main__":
    cli.step(inputs.read_instruction, __doc__, "refiner")
