# Before the GPUs are booked: what a run takes, and a few videos that replace expectation by measurement.


rule plan:
    input:
        # Sets that share prompts share videos; those that no download is needed for are read to count them once.
        [
            LAYOUT.prompt_source(source)
            for source in STUDY.evaluated_sources()
            if CONFIG.prompt_sources[source].files_here
        ],
    log:
        LAYOUT.log("plan"),
    conda:
        "../envs/workflow.yaml"
    message:
        "Estimate what is to do for {STUDY.tracks}"
    shell:
        "python scripts/plan.py --log {log}"


# Films and scores the first prompts of the evolution, whose videos the evolution then finds in the store.
rule pilot:
    input:
        [STUDY.files(STUDY.pilot(track)).scores(REWARDS) for track in STUDY.tracks],
