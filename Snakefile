"""Prompt-A-Video, end to end: evolution, boosters, evaluation, tables, for every configured generator."""

from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")


configfile: "config.yaml"


include: "rules/common.smk"
include: "rules/inputs.smk"
include: "rules/batch.smk"
include: "rules/evolution.smk"
include: "rules/boosters.smk"
include: "rules/evaluation.smk"
include: "rules/report.smk"
include: "rules/miniature.smk"


rule all:
    default_target: True
    input:
        "results/report.html",


rule only:
    message:
        "Tables of {wildcards.generator} are done"
    input:
        "results/{generator}/tables/videoscore.csv",
    output:
        touch("results/{generator}/.done"),
