"""Put tables, figures and their origin into one HTML file."""

import json
from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.figures import stage_scores
from promptavideo.report import ReportFigure, ReportTable, write_report
from promptavideo.tables import read, read_provenance, read_videoscore_table

parser = cli.parser(__doc__)
parser.add_argument("--videoscore", type=Path, required=True, help="videoscore.csv")
parser.add_argument("--tables", type=Path, nargs="*", default=[], help="further tables (.csv), shown below it")
parser.add_argument("--figures", type=json.loads, required=True, help="JSON: {generator: folder of its figures}")
parser.add_argument("--stages", type=Path, required=True, help="where the figure of scores by stage goes")
parser.add_argument("--output", type=Path, required=True)

CAPTIONS = {
    "evolution": ("Evolution", "Best and mean total by round, with 95 % intervals over prompts."),
    "training": ("Training", "Losses of SFT and DPO; reward margins and accuracies of DPO."),
    "contact_sheet": ("Videos", "The first prompts of the evaluation set, filmed as written and as refined."),
}


def main(options: Namespace) -> None:
    """Draw the scores by stage and write the report."""
    stage_scores(read_videoscore_table(options.videoscore), options.stages)
    figures = [ReportFigure("Scores by refiner", options.stages, "Mean of the five VideoScore dimensions.")]
    for generator, folder in options.figures.items():
        for name, (title, caption) in CAPTIONS.items():
            figures.append(ReportFigure(f"{title}: {generator}", Path(folder, f"{name}.png"), caption))
    tables: list[ReportTable] = []
    origins: dict[str, object] = {}
    for path in (options.videoscore, *options.tables):
        tables.append(ReportTable(*read(path.with_suffix(""))))
        rows = read_provenance(path.with_suffix(""))
        origins |= {f"{path.stem}, row {number}": entry for number, entry in enumerate(rows, 1)}
    write_report(options.output, "Prompt-A-Video, reproduced", tables, figures, [], origins)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
