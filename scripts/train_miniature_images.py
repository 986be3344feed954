"""Train the miniature generator of images, or resume the run in the given folder."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli

parser = cli.parser(__doc__)
parser.add_argument("folder", type=Path, help="checkpoints and the cached training set")
parser.add_argument("--films", type=Path, required=True, help="the folder of a miniature that films; its VAE is taken")
parser.add_argument("--text-encoder", type=Path, required=True)
parser.add_argument("--threads", type=int, required=True)
parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="auto: a GPU when there is one")
parser.add_argument("--export", type=Path, required=True, help="gets the weights in half precision")


def main(options: Namespace) -> None:
    """Train what is not trained yet, then export."""
    import torch
    from diffusers import PixArtTransformer2DModel

    from promptavideo.devices import choose_device
    from promptavideo.miniature.stills import Plan, train
    from promptavideo.miniature.training import export

    torch.set_num_threads(options.threads)
    train(options.folder, options.films, options.text_encoder, Plan(), choose_device(options.device, "--device"))
    export(options.folder, options.export, PixArtTransformer2DModel)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
