"""Draw the scores by stage and write the report."""

from promptavideo import cli
from promptavideo.steps.report import report

if __name__ == "__main__":
    cli.step(report, __doc__)
