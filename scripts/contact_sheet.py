"""Draw a contact sheet of a track's videos with their prompts."""

from promptavideo import cli
from promptavideo.steps import tables

if __name__ == "__main__":
    cli.step(tables.contact_sheet, __doc__, "track")
