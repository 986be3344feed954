"""Take the pictures of the gallery and of the user study's page that the documents show, in a real browser."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.screenshots import Picture, of_file, of_gallery, of_study, take

parser = cli.parser(__doc__, "gallery", "study")
parser.add_argument("--folder", type=Path, required=True, help="where the pictures go")


def main(options: Namespace) -> None:
    """Take both."""
    take(
        {
            options.folder / "gallery.png": Picture(of_file(Path(options.gallery)), (1200, 900), of_gallery),
            options.folder / "study.png": Picture(of_file(Path(options.study), "#slot=1"), (900, 800), of_study),
        }
    )


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
