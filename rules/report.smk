# Tables, figures and the report.


rule table:
    input:
        lambda wildcards: TABLES[wildcards.table].files(wildcards.scope),
    output:
        multiext(
            "results/{scope}/{table}",
            ".csv",
            ".md",
            ".tex",
            ".notes.json",
            ".provenance.json",
        ),
    log:
        LAYOUT.log("table", "{scope}", "{table}"),
    benchmark:
        LAYOUT.benchmark("table", "{scope}", "{table}")
    wildcard_constraints:
        table=pattern(TABLES),
    conda:
        "../envs/report.yaml"
    params:
        decides=decides("table"),
    message:
        "Compare the refiners in results/{wildcards.scope}/{wildcards.table}.csv"
    shell:
        "python scripts/table.py {wildcards.scope} {wildcards.table} --log {log}"


rule evolution_curve:
    input:
        lambda wildcards: [
            STUDY.files(batch).scores(REWARDS)
            for batch in STUDY.rounds(wildcards.track)
        ],
    output:
        "results/{track}/figures/evolution.png",
    log:
        LAYOUT.log("evolution_curve", "{track}"),
    benchmark:
        LAYOUT.benchmark("evolution_curve", "{track}")
    conda:
        "../envs/report.yaml"
    params:
        decides=decides("evolution_curve"),
    message:
        "Draw how {wildcards.track} evolved"
    shell:
        "python scripts/evolution_curve.py {wildcards.track} --log {log}"


rule training_curves:
    input:
        lambda wildcards: [
            STUDY.files_of(booster).log for booster in STUDY.boosters(wildcards.track)
        ],
    output:
        "results/{track}/figures/training.png",
    log:
        LAYOUT.log("training_curves", "{track}"),
    benchmark:
        LAYOUT.benchmark("training_curves", "{track}")
    conda:
        "../envs/report.yaml"
    params:
        decides=decides("training_curves"),
    message:
        "Draw how the boosters of {wildcards.track} learned"
    shell:
        "python scripts/training_curves.py {wildcards.track} --log {log}"


rule report:
    input:
        tables=expand("results/tables/{table}.csv", table=SHOWN),
        figures=[figure for track in STUDY.tracks for figure in figures_of(track)],
        studies=[figure for table in SHOWN for figure in figure_of(table)],
        qualitative=multiext("results/figures/qualitative", ".png", ".txt"),
        gallery=GALLERY,
        # Of the videos that it plays.
        scores=[scores for track in STUDY.tracks for scores in scores_of(played(track))],
        manifests=[
            manifest for track in STUDY.tracks for manifest in videos_of(played(track))
        ],
    output:
        html="results/report.html",
        stages="results/figures/stages.png",
        held_out=["results/figures/held_out.png"] if STUDY.reported else [],
    log:
        LAYOUT.log("report"),
    benchmark:
        LAYOUT.benchmark("report")
    conda:
        "../envs/report.yaml"
    params:
        decides=decides("report"),
    message:
        "Write results/report.html"
    shell:
        "python scripts/report.py --log {log}"
