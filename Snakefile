"""Prompt-A-Video, end to end: evolution, boosters, evaluation, tables, for every configured generator."""

from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")


configfile: "config.yaml"


include: "rules/common.smk"
include: "rules/lookup.smk"
include: "rules/run.smk"
include: "rules/inputs.smk"
include: "rules/texts.smk"
include: "rules/batch.smk"
include: "rules/boosters.smk"
include: "rules/pictures.smk"
include: "rules/report.smk"
include: "rules/gallery.smk"
include: "rules/studies.smk"
include: "rules/study.smk"
include: "rules/vbench_inputs.smk"
include: "rules/vbench.smk"
include: "rules/miniature.smk"
include: "rules/plan.smk"


# On a cluster these run beside snakemake: they take seconds, where a job waits for minutes, or they need the internet,
# which compute nodes often lack. Elsewhere this says nothing.
localrules:
    fetch,
    prompt_source,
    pair_source,
    instruction,
    prompt_set,
    check_base,
    reader,
    propose,
    gather,
    pairs,
    negatives,
    triples,
    table,
    vbench_prompts,
    vbench_checkpoint,
    study_figure,
    evolution_story,
    evolution_curve,
    training_curves,
    contact_sheet,
    qualitative,
    report,
    study,
    user_study_votes,
    plan,
    pilot_prompts,
    screenshots,
    demo_picture,
    ship_booster,


rule all:
    default_target: True
    input:
        "results/report.html",


rule models:
    input:
        [LAYOUT.manifest(model) for model in CONFIG.models],


# `snakemake NAME` builds all tables and figures of one track.
for track in STUDY.tracks:

    rule:
        name:
            track
        input:
            [
                f"results/{track}/tables/{table}.csv"
                for table in SHOWN
                if TABLES[table].rows(f"{track}/tables")
            ],
            figures_of(track),


# `snakemake NAME` builds one of the tables that compare all tracks, with its figure.
for table in [one for one in TABLES if one not in STUDY.tracks]:

    rule:
        name:
            table
        input:
            f"results/tables/{table}.csv",
            figure_of(table),


# Whatever is asked for and nothing makes: the message lists what there is.
rule unknown:
    output:
        "{target}",
    log:
        LAYOUT.log("unknown", "{target}"),
    wildcard_constraints:
        target=unknown_target(STUDY),
    conda:
        "envs/workflow.yaml"
    params:
        lambda wildcards: refuse(wildcards.target),
    shell:
        "false > {log}"
