"""Train the miniature generator from nothing, or resume the run in the given folder."""

import argparse
import logging
from pathlib import Path

import torch

from promptavideo.miniature.training import Plan, train

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", type=Path)
parser.add_argument("--text-encoder", type=Path, required=True)
parser.add_argument("--steps", type=int, default=Plan.steps)
parser.add_argument("--vae-steps", type=int, default=Plan.vae_steps)
parser.add_argument("--clips", type=int, default=Plan.clips)
parser.add_argument("--threads", type=int, default=2)

if __name__ == "__main__":
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(options.threads)
    train(
        options.folder,
        options.text_encoder,
        Plan(vae_steps=options.vae_steps, clips=options.clips, steps=options.steps),
    )
