"""Distil the miniature's teacher into a student of few steps, or resume the run in the given folder."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli

parser = cli.parser(__doc__)
parser.add_argument("folder", type=Path, help="trajectories and checkpoints")
parser.add_argument("--teacher", type=Path, required=True, help="the folder of its weights")
parser.add_argument("--text-encoder", type=Path, required=True)
parser.add_argument("--dialect", default="plain", choices=["plain", "crew"], help="what the student is to answer to")
parser.add_argument("--threads", type=int, required=True)
parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="auto: a GPU when there is one")
parser.add_argument("--export", type=Path, required=True, help="gets the weights in half precision")


def main(options: Namespace) -> None:
    """Do what is not done yet, then export."""
    import torch

    from promptavideo.devices import choose_device
    from promptavideo.miniature.distillation import Plan, distil, export

    torch.set_num_threads(options.threads)
    plan, device = Plan(dialect=options.dialect), choose_device(options.device, "--device")
    distil(options.folder, options.teacher, options.text_encoder, plan, device)
    export(options.folder, options.teacher, options.export)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
