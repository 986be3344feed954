"""Train a booster: SFT on pairs from the base model, or DPO on triples from the previous booster."""

import sys
from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.boosters import launch
from promptavideo.boosters.chat import Instruction
from promptavideo.boosters.config import BoosterConfig
from promptavideo.boosters.load import read_chain
from promptavideo.devices import choose_device
from promptavideo.schemas import PAIRS, TRIPLES, read_table

parser = cli.parser(__doc__)
parser.add_argument("method", choices=["sft", "dpo"])
parser.add_argument("--data", type=Path, required=True, help="pairs or triples")
parser.add_argument("--settings", type=cli.settings(BoosterConfig), required=True)
parser.add_argument("--base", type=Path, required=True, help="the base model's folder")
parser.add_argument("--previous", type=Path, help="the booster to start from")
parser.add_argument("--checkpoints", type=Path, required=True)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--output", type=Path, required=True)


def main(options: Namespace) -> None:
    """Train and save the next adapter of the chain; with several devices, start this script once for each."""
    settings: BoosterConfig = options.settings
    if not launch.started():
        if settings.devices > 1:
            choose_device(settings.device, "booster.device", settings.devices)
            launch.relaunch(settings.devices, sys.argv)
        launch.keep_one_gpu()
    from promptavideo.boosters.training import Run, train_dpo, train_sft

    previous = Path("..", options.previous.name) if options.previous else None
    run = Run(
        output=options.output,
        checkpoints=options.checkpoints,
        previous=str(previous) if previous else None,
        seed=options.seed,
        threads=settings.threads,
        device=settings.device,
        devices=settings.devices,
        dtype=settings.dtype,
    )
    chain = read_chain(options.base, options.previous)
    instruction = Instruction(Path(settings.instruction))
    if options.method == "sft":
        train_sft(read_table(options.data, PAIRS), chain, instruction, settings.sft, run)
    else:
        train_dpo(read_table(options.data, TRIPLES), chain, instruction, settings.dpo, run)


if __name__ == "__main__":
    launch.follow_launcher()
    arguments = parser.parse_args()
    if arguments.log and launch.rank():
        arguments.log = arguments.log.with_suffix(f".rank-{launch.rank()}.log")  # the first process owns the log
    with launch.leave_at_once():
        cli.run(arguments, main)
