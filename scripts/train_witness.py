"""Train the witness, the miniature's held-out judge, or resume the run in the given folder."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli

parser = cli.parser(__doc__)
parser.add_argument("folder", type=Path, help="checkpoints")
parser.add_argument("--threads", type=int, required=True)
parser.add_argument("--device", default="auto", help="cpu, cuda, or auto: a GPU when there is one")
parser.add_argument("--export", type=Path, required=True, help="gets the weights in half precision")


def main(options: Namespace) -> None:
    """Train what is not trained yet, then export."""
    import torch

    from promptavideo.miniature.witness import Plan, export, train

    torch.set_num_threads(options.threads)
    device = options.device if options.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    train(options.folder, Plan(), device)
    export(options.folder, options.export)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
