# Figures of videos. The videos themselves are in the store; one that is gone is filmed again for its manifest.


rule contact_sheet:
    input:
        scores=lambda wildcards: scores_of(STUDY.shown(wildcards.track).values()),
        manifests=lambda wildcards: videos_of(STUDY.shown(wildcards.track).values()),
    output:
        "results/{track}/figures/contact_sheet.png",
    log:
        LAYOUT.log("contact_sheet", "{track}"),
    benchmark:
        LAYOUT.benchmark("contact_sheet", "{track}")
    conda:
        "../envs/report.yaml"
    params:
        decides=decides("contact_sheet"),
    message:
        "Draw videos of {wildcards.track} with their prompts"
    shell:
        "python scripts/contact_sheet.py {wildcards.track} --log {log}"


rule qualitative:
    input:
        scores=scores_of([*STUDY.qualitative.values(), *(STUDY.ranked or ())]),
        manifests=videos_of(STUDY.qualitative.values()),
    output:
        multiext("results/figures/qualitative", ".png", ".pdf", ".txt"),
    log:
        LAYOUT.log("qualitative"),
    benchmark:
        LAYOUT.benchmark("qualitative")
    conda:
        "../envs/report.yaml"
    params:
        decides=decides("qualitative"),
    message:
        "Draw videos of some prompts for a paper"
    shell:
        "python scripts/qualitative.py --log {log}"
