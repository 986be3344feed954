"""Tell the evolution of some prompts of a track, round by round."""

from promptavideo import cli
from promptavideo.steps import tables

if __name__ == "__main__":
    cli.step(tables.evolution_story, __doc__, "track")
