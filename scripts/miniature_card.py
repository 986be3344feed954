"""Measure how well a generator trained on the synthetic world follows its prompts; write its card."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.figures import contact_sheet
from promptavideo.generators import GeneratorConfig, load_generator
from promptavideo.miniature.acceptance import measure, write_card
from promptavideo.progress import Progress
from promptavideo.shots import Shot
from promptavideo.video import Clip

parser = cli.parser(__doc__)
parser.add_argument("--settings", type=cli.settings(GeneratorConfig), required=True)
parser.add_argument("--model", type=Path, required=True, help="the model's folder")
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--card", type=Path, required=True)
parser.add_argument("--sheet", type=Path, required=True)


def main(options: Namespace) -> None:
    """Film fresh scenes in good, short and bad wording, and compare."""
    generator = load_generator(options.settings, [options.model])

    def film(shots: list[Shot]) -> list[Clip]:
        progress = Progress("card", len(shots), "videos")
        clips: list[Clip] = []
        for start in range(0, len(shots), generator.batch_size):
            made = list(generator.film(shots[start : start + generator.batch_size]))
            clips += [clip for clip in made if isinstance(clip, Clip)]
            progress.advance(len(made))
        return clips

    report = measure(film, options.seed)
    write_card(report, options.card)
    contact_sheet(report.examples, options.sheet)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
