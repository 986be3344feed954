"""Measure how well a generator trained on the synthetic world follows its prompts; write its card."""

from promptavideo import cli
from promptavideo.steps import inputs

if __name__ == "__main__":
    cli.step(inputs.measure_card, __doc__, "generator")
