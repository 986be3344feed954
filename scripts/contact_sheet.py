"""Draw a contact sheet of a track's videos with their prompts."""

from promptavideo import cli
from promptavideo.steps import pictures

if __name__ == "__main__":
    cli.step(pictures.contact_sheet, __doc__, "track")
