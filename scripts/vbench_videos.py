"""List a batch's videos for VBench and link them under the names that it wants."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.schemas import PROMPTS, read_table
from promptavideo.store import Store, read_manifest
from promptavideo.vbench.config import VBenchSet
from promptavideo.vbench.listing import FOLDER, write_listing
from promptavideo.vbench.rows import read_rows
from promptavideo.vbench.videos import link_videos, list_videos

parser = cli.parser(__doc__)
parser.add_argument("--prompts", type=Path, required=True)
parser.add_argument("--manifests", type=Path, nargs="+", required=True)
parser.add_argument("--settings", type=cli.settings(VBenchSet), required=True)
parser.add_argument("--rows", type=Path, help="VBench's list of prompts, if it knows those of the set")
parser.add_argument("--store", type=Path, required=True)
parser.add_argument("--generator", required=True)
parser.add_argument("--stage", required=True, help="name of this work in progress lines")
parser.add_argument("--output", type=Path, required=True, help="the list; a folder of links goes beside it")


def main(options: Namespace) -> None:
    """Check every video, link it, and write the list last."""
    listing = list_videos(
        read_table(options.prompts, PROMPTS),
        {path: read_manifest(path) for path in options.manifests},
        Store(options.store, options.generator),
        options.settings,
        read_rows(options.rows) if options.rows else None,
        options.stage,
    )
    link_videos(listing, options.output.parent / FOLDER)
    write_listing(listing, options.output)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
