# Studies beside the main tables, each a target of its own that the report waits for only where the configuration asks.


rule study_figure:
    input:
        multiext("results/tables/{table}", ".csv", ".notes.json"),
    output:
        "results/figures/{table}.png",
    log:
        LAYOUT.log("study_figure", "{table}"),
    benchmark:
        LAYOUT.benchmark("study_figure", "{table}")
    wildcard_constraints:
        table=pattern(table for table in TABLES if TABLES[table].FIGURE) or "none",
    conda:
        "../envs/report.yaml"
    params:
        decides=decides("study_figure"),
    message:
        "Draw {output}"
    shell:
        "python scripts/study_figure.py {wildcards.table} --log {log}"


rule evolution_story:
    input:
        scores=lambda wildcards: [
            STUDY.files(batch).scores(REWARDS)
            for batch in STUDY.rounds(wildcards.track)
        ],
        printed="resources/paper/table5_first_iteration.csv",
    output:
        multiext("results/{track}/examples/evolution", ".md", ".html"),
    log:
        LAYOUT.log("evolution_story", "{track}"),
    benchmark:
        LAYOUT.benchmark("evolution_story", "{track}")
    conda:
        "../envs/report.yaml"
    params:
        decides=decides("evolution_story"),
    message:
        "Tell the evolution of some prompts of {wildcards.track}"
    shell:
        "python scripts/evolution_story.py {wildcards.track} --log {log}"


rule examples:
    input:
        [
            f"results/{track}/examples/evolution.md"
            for track in STUDY.tracks
            if STUDY.boosters(track)
        ],
