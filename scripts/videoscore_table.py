"""Compare refiners: means, paired gains over `original`, intervals, and where each row comes from."""

import json
from argparse import Namespace
from pathlib import Path

from promptavideo import cli, provenance
from promptavideo.hardware import environment
from promptavideo.schemas import SCORES, read_table
from promptavideo.tables import (
    Arm,
    BootstrapConfig,
    footnotes,
    videoscore_table,
    with_paper_rows,
    write,
    write_provenance,
)

parser = cli.parser(__doc__)
parser.add_argument("--arms", type=json.loads, required=True, help="JSON: generator, set, refiner, scores, ... each")
parser.add_argument("--bootstrap", type=cli.settings(BootstrapConfig), required=True)
parser.add_argument("--paper", type=Path, required=True, help="folder of the paper's tables")
parser.add_argument("--scale", choices=["laptop", "paper"], required=True)
parser.add_argument("--published", type=json.loads, help="JSON: where the paper's models come from, at its scale")
parser.add_argument("--seed", type=int, required=True, help="the run's seed, for the record")
parser.add_argument("--stem", type=Path, required=True, help="output path without suffix")


def main(options: Namespace) -> None:
    """Read every arm's scores, write the table in three formats and its origin beside it."""
    names = [{key: arm[key] for key in ("generator", "set", "refiner")} for arm in options.arms]
    scores = [read_table(Path(arm["scores"]), SCORES) for arm in options.arms]
    ours = videoscore_table(
        [Arm(**name, scores=table) for name, table in zip(names, scores, strict=True)], options.bootstrap
    )
    table = with_paper_rows(ours, options.paper)
    origins = [provenance.origin(Path(arm["scores"])) for arm in options.arms]
    run = {"code": provenance.code_version(Path()), "scale": options.scale, "run_seed": options.seed}
    run |= {"environment": environment(provenance.ARITHMETIC)}
    rows = [
        run | provenance.row(name, arm_scores, origin, Path(arm["booster"]) if arm["booster"] else None)
        for name, arm_scores, origin, arm in zip(names, scores, origins, options.arms, strict=True)
    ]
    notes = footnotes(table, options.scale, provenance.remarks(rows, options.published))
    write(table, options.stem, "Refiners compared on the seven rewards", notes)
    paper = {"source": "Prompt-A-Video (arXiv 2412.15156), Table 1", "file": "resources/paper/table1_videoscore.csv"}
    rows += [paper] * (len(table) - len(ours))
    write_provenance(options.stem, rows)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
