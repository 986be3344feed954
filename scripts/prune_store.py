"""List the videos and images that no manifest below `results/` names, and delete them on request."""

import logging
from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.errors import InputError
from promptavideo.files import hold
from promptavideo.store import SUFFIX, Store
from promptavideo.video import Filmed

LOCK = Path(".snakemake/promptavideo.lock")
"""The lock of a running workflow, whose videos are in no manifest yet; see rules/common.smk."""

parser = cli.parser(__doc__)
parser.add_argument("--store", type=Path, default=Path("store"))
parser.add_argument("--results", type=Path, default=Path("results"))
parser.add_argument("--delete", action="store_true", help="delete them; otherwise they are only listed")


def main(options: Namespace) -> None:
    """Go through every generator's part of the store; with `--delete`, while no workflow runs."""
    if not options.store.is_dir():
        raise InputError(f"{options.store}: there is no such store; name it with --store")
    lock = hold(LOCK) if options.delete else None
    parts = sorted((path.parent.name, medium) for medium in SUFFIX for path in options.store.glob(f"*/{medium}s"))
    videos = [video for name, medium in parts for video in _unnamed(options, name, medium)]
    size = sum(video.stat().st_size for video in videos)
    for video in videos:
        cli.say(str(video))
        if lock:
            Store.remove(video)
    done = "deleted" if lock else "can be deleted with --delete"
    logging.info("%d videos and images of %.1f MB that no manifest names %s", len(videos), size / 1e6, done)


def _unnamed(options: Namespace, generator: str, medium: Filmed) -> list[Path]:
    manifests = sorted((options.results / generator).glob("**/videos/*.jsonl"))
    if not manifests:
        logging.warning(
            "%s: skipped, since no manifest below %s names any video of it; delete the folder yourself if you mean all",
            options.store / generator,
            options.results / generator,
        )
        return []
    return Store(options.store, generator, medium).unnamed(manifests)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
