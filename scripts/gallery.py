"""Copy the evaluation's videos for viewing, and write the page on which they play beside each other."""

from promptavideo import cli
from promptavideo.steps import gallery

if __name__ == "__main__":
    cli.step(gallery.gallery, __doc__)
