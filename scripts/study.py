"""Plan the user study of a run, and write the folder that raters see."""

from promptavideo import cli
from promptavideo.steps import rating

if __name__ == "__main__":
    cli.step(rating.plan, __doc__)
