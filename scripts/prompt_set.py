"""Read a prompt set from its file or source into a checked table."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.prompts import PromptSet, check_disjoint, load_prompt_set
from promptavideo.schemas import PROMPT_SET, read_table, write_table
from promptavideo.vbench.config import VBenchSet
from promptavideo.vbench.rows import check_judged, read_rows

parser = cli.parser(__doc__)
parser.add_argument("name")
parser.add_argument("--settings", type=cli.settings(PromptSet), required=True)
parser.add_argument(
    "--apart", type=Path, nargs="*", default=[], help="tables, named like their sets, to share none with"
)
parser.add_argument("--judged", type=cli.settings(dict[str, VBenchSet]), required=True, help="by VBench's list: sets")
parser.add_argument("--rows", type=Path, help="VBench's list")
parser.add_argument("--output", type=Path, required=True)


def main(options: Namespace) -> None:
    """Read, check and write."""
    table = load_prompt_set(options.name, options.settings, Path())
    others = {path.stem: read_table(path, PROMPT_SET) for path in options.apart}
    check_disjoint(others | {options.name: table}, [(options.name, other) for other in others])
    if options.judged:
        texts = dict(zip(table["prompt_id"], table["prompt"], strict=True))
        check_judged(texts, options.judged, read_rows(options.rows))
    write_table(table, options.output, PROMPT_SET)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
