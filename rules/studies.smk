# Studies beside the main tables, each a target of its own that the report waits for only where the configuration asks.


rule convergence_figure:
    input:
        multiext("results/tables/convergence", ".csv", ".notes.json"),
    output:
        CONVERGENCE,
    log:
        LAYOUT.log("convergence_figure"),
    benchmark:
        LAYOUT.benchmark("convergence_figure")
    conda:
        "../envs/report.yaml"
    params:
        decides=decides("convergence_figure"),
    message:
        "Draw what each stage gains in {output}"
    shell:
        "python scripts/convergence_figure.py --log {log}"


# What each stage of the chain gains and costs. Without a booster there is none, and the target is unknown.
if "convergence" in TABLES:

    rule convergence:
        input:
            CONVERGENCE,
            [
                f"results/{scope}/convergence.csv"
                for scope in ("tables", *(f"{track}/tables" for track in STUDY.tracks))
                if TABLES["convergence"].rows(scope)
            ],


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
