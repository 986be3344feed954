"""Take the picture of the demo that the README opens with: its last booster, asked about a held-out prompt."""

from argparse import Namespace
from pathlib import Path
from tempfile import TemporaryDirectory

from promptavideo import cli
from promptavideo.screenshots import Picture, of_demo, take
from promptavideo.use import demo
from promptavideo.use.desk import Desk, boosters

parser = cli.parser(__doc__, "track")
parser.add_argument("--picture", type=Path, required=True)


def main(options: Namespace) -> None:
    """Serve the page as long as it takes."""
    study = cli.study(options)
    with TemporaryDirectory() as folder:
        page = demo.start(Desk(study, options.track, boosters(study, options.track), Path(folder).resolve()))
        try:
            take({options.picture: Picture(str(page.local_url), (1200, 1100), of_demo)})
        finally:
            page.close(verbose=False)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
