"""Let VBench judge one dimension of a shard of an evaluation's videos; runs in VBench's own environment."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.layout import Layout
from promptavideo.vbench.evaluate import evaluate, write_result
from promptavideo.vbench.listing import check_videos, read_listing, shard
from promptavideo.vbench.staged import check_staged

parser = cli.parser(__doc__, "track", "batch", "dimension", "shard")
parser.add_argument("--checkpoints", nargs="*", default=[], help="names of those that the dimension needs")
parser.add_argument("--device", choices=["auto", "cpu", "cuda"], required=True)


def main(options: Namespace) -> None:
    """Check first that everything is there, then let VBench work."""
    layout = Layout()
    files = layout.batch(options.track, options.batch)
    check_staged([Path(layout.checkpoint(name)) for name in options.checkpoints], Path(layout.vbench_cache))
    path = Path(files.listing)
    listing = read_listing(path)
    videos = shard(listing.of(options.dimension), options.shard)
    check_videos(path, videos)
    result = evaluate(options.dimension, listing, videos, Path(layout.vbench_cache), options.device)
    write_result(result, Path(files.dimension(options.dimension, options.shard)))


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
