"""Judge a shard of a batch's videos by one dimension of VBench. Runs in VBench's own environment."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.vbench.evaluate import evaluate, write_result
from promptavideo.vbench.listing import FOLDER, check_folder, check_videos, read_listing, shard
from promptavideo.vbench.staged import check_staged

parser = cli.parser(__doc__)
parser.add_argument("dimension")
parser.add_argument("--listing", type=Path, required=True, help="its folder of links lies beside it")
parser.add_argument("--shard", type=int, required=True)
parser.add_argument("--shard-size", type=int, required=True, help="videos in a shard")
parser.add_argument("--checkpoints", type=Path, nargs="*", default=[], help="records of those that the dimension needs")
parser.add_argument("--cache", type=Path, required=True, help="folder of all checkpoints")
parser.add_argument("--device", choices=["auto", "cpu", "cuda"], required=True)
parser.add_argument("--output", type=Path, required=True)


def main(options: Namespace) -> None:
    """Check first that everything is there, then let VBench work."""
    check_staged(options.checkpoints, options.cache)
    listing = read_listing(options.listing)
    folder = options.listing.parent / FOLDER
    videos = shard(listing.of(options.dimension), options.shard, options.shard_size)
    check_videos(options.listing, videos)
    check_folder(options.listing, folder, listing.videos)
    result = evaluate(options.dimension, listing, videos, folder, options.cache, options.device)
    write_result(result, options.output)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
