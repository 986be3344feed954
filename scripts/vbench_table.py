"""Compare refiners by VBench: Table 8 of the paper, or the table of its ablations."""

import json
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptavideo import cli, provenance
from promptavideo.hardware import environment
from promptavideo.schemas import PROMPTS, SCORES, VBENCH_SCORES, read_table
from promptavideo.tables import Arm, BootstrapConfig, write, write_provenance
from promptavideo.vbench import table as tables
from promptavideo.vbench.listing import read_listing

parser = cli.parser(__doc__)
parser.add_argument("kind", choices=["main", "ablation"])
parser.add_argument("--arms", type=json.loads, required=True, help="JSON: generator, set, refiner, vbench, ... each")
parser.add_argument("--bootstrap", type=cli.settings(BootstrapConfig), required=True)
parser.add_argument("--paper", type=Path, required=True, help="the paper's Table 8")
parser.add_argument("--scale", choices=["laptop", "paper"], required=True)
parser.add_argument("--published", type=json.loads, help="JSON: where the paper's models come from, at its scale")
parser.add_argument("--seed", type=int, required=True, help="the run's seed, for the record")
parser.add_argument("--stem", type=Path, required=True, help="output path without suffix")


def main(options: Namespace) -> None:
    """Read every arm's results, write the table in three formats and its origin beside it."""
    rows = [_judged(arm) for arm in options.arms]
    run = {"code": provenance.code_version(Path()), "scale": options.scale, "run_seed": options.seed}
    origins = [run | {"environment": environment(provenance.ARITHMETIC)} | _origin(arm) for arm in options.arms]
    name = next((arm["set"] for arm in options.arms), "")
    if options.kind == "ablation":
        for origin, arm in zip(origins, options.arms, strict=True):
            origin["rewards"] = provenance.origin(Path(arm["scores"]))
    notes = tables.notes(options.kind, rows, name, options.scale, provenance.remarks(origins, options.published))
    if options.kind == "main":
        ours = tables.vbench_table(rows, options.bootstrap)
        part = any(tables.part(row) for row in rows)
        table, title = ours if part else tables.with_paper_rows(ours, options.paper), "Refiners compared by VBench"
        shown = tables.SHOWN
        paper = {"source": "Prompt-A-Video (arXiv 2412.15156), Table 8", "file": "resources/paper/table8_vbench.csv"}
        origins += [paper] * (len(table) - len(ours))
    else:
        arms = [
            Arm(arm["generator"], arm["set"], arm["refiner"], read_table(Path(arm["scores"]), SCORES))
            for arm in options.arms
        ]
        table, shown = tables.ablation_table(rows, arms, options.bootstrap), tables.ABLATION_SHOWN
        title = "Refiners compared on the ablations' prompts"
    write(table, options.stem, title, notes, shown)
    write_provenance(options.stem, origins)


def _judged(arm: Mapping[str, str]) -> tables.Judged:
    """One row's scores, and what they were made of."""
    scores, listing = read_table(Path(arm["vbench"]), VBENCH_SCORES), read_listing(Path(arm["listing"]))
    return tables.Judged(arm["generator"], arm["refiner"], scores, listing)


def _origin(arm: Mapping[str, str]) -> dict[str, Any]:
    """Where one row comes from."""
    return provenance.row(
        {key: arm[key] for key in ("generator", "set", "refiner")},
        read_table(Path(arm["prompts"]), PROMPTS),
        provenance.origin(Path(arm["vbench"])),
        Path(arm["booster"]) if arm["booster"] else None,
    )


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
