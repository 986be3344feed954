"""Record what the generator of a track reads of a text, for those who write for it."""

from promptavideo import cli
from promptavideo.steps import inputs

if __name__ == "__main__":
    cli.step(inputs.read_reader, __doc__, "track")
