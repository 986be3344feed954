"""Put tables, figures and their origin into one HTML file."""

import json
from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.figures import stage_scores
from promptavideo.provenance import hardware_of
from promptavideo.report import ReportFigure, ReportTable, write_report
from promptavideo.tables import footnotes, read_videoscore_table

parser = cli.parser(__doc__)
parser.add_argument("--table", type=Path, required=True, help="videoscore.csv")
parser.add_argument("--figures", type=json.loads, required=True, help="JSON: {generator: folder of its figures}")
parser.add_argument("--scale", choices=["laptop", "paper"], required=True)
parser.add_argument("--stages", type=Path, required=True, help="where the figure of scores by stage goes")
parser.add_argument("--output", type=Path, required=True)

CAPTIONS = {
    "evolution": ("Evolution", "Best and mean total by round, with 95 % intervals over prompts."),
    "training": ("Training", "Losses of SFT and DPO; reward margins and accuracies of DPO."),
    "contact_sheet": ("Videos", "The first prompts of the evaluation set, filmed as written and as refined."),
}


def main(options: Namespace) -> None:
    """Draw the scores by stage and write the report."""
    table = read_videoscore_table(options.table)
    stage_scores(table, options.stages)
    figures = [ReportFigure("Scores by refiner", options.stages, "Mean of the five VideoScore dimensions.")]
    for generator, folder in options.figures.items():
        for name, (title, caption) in CAPTIONS.items():
            figures.append(ReportFigure(f"{title}: {generator}", Path(folder, f"{name}.png"), caption))
    origin = json.loads(options.table.with_suffix(".provenance.json").read_text(encoding="utf-8"))
    notes = footnotes(table, options.scale, hardware_of(origin))
    provenance = {f"row {number}": entry for number, entry in enumerate(origin, 1)}
    write_report(
        options.output,
        "Prompt-A-Video, reproduced",
        [ReportTable("Refiners compared on the seven rewards", table, notes)],
        figures,
        [],
        provenance,
    )


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
