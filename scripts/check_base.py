"""Check that the base model can be a booster's, before anything is filmed for its training."""

from promptavideo import cli
from promptavideo.steps import inputs

if __name__ == "__main__":
    cli.step(inputs.check_base, __doc__)
