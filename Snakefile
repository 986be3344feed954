"""Prompt-A-Video, end to end: evolution, boosters, evaluation, tables, for every configured generator."""

from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")


configfile: "config.yaml"


include: "rules/common.smk"
include: "rules/run.smk"
include: "rules/inputs.smk"
include: "rules/batch.smk"
include: "rules/evolution.smk"
include: "rules/boosters.smk"
include: "rules/evaluation.smk"
include: "rules/report.smk"
include: "rules/vbench_inputs.smk"
include: "rules/vbench.smk"
include: "rules/miniature.smk"
include: "rules/plan.smk"


# On a cluster these run beside snakemake: they take seconds, where a job waits for minutes, or they need the internet,
# which compute nodes often lack. Elsewhere this says nothing.
localrules:
    fetch,
    prompt_source,
    prompt_set,
    check_base,
    propose,
    gather,
    pairs,
    triples,
    videoscore,
    vbench_prompts,
    vbench_checkpoint,
    vbench_gather,
    vbench_table,
    figures,
    report,
    plan,
    pilot_prompts,


rule all:
    default_target: True
    input:
        "results/report.html",


rule models:
    input:
        [manifest(model) for model in CONFIG.models],


# `snakemake NAME` builds all tables and figures of one generator.
for generator in CONFIG.generators:

    rule:
        name:
            generator
        input:
            f"results/{generator}/tables/videoscore.csv",
            expand(f"results/{generator}/tables/{{table}}.csv", table=VBENCH.tables),
            f"results/{generator}/figures/contact_sheet.png",
