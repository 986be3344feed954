# Before the GPUs are booked: what a run takes, and a few videos that replace expectation by measurement.


rule plan:
    input:
        # Sets that share prompts share videos; those that no download is needed for are read to count them once.
        [
            f"resources/prompts/{source}.parquet"
            for source in PLAN.evaluated_sources()
            if CONFIG.prompt_sources[source].kind == "local"
        ],
    log:
        "logs/plan.log",
    conda:
        "../envs/workflow.yaml"
    params:
        config=lambda wildcards: PLAN.as_json(PLAN.raw),
    message:
        "Reckon what is to do for {CONFIG.generators}"
    shell:
        "python scripts/plan.py --config {params.config:q} --log {log}"


rule pilot_prompts:
    input:
        "results/{generator}/evolution/round-0/prompts.parquet",
    output:
        "results/{generator}/pilot/prompts.parquet",
    log:
        "logs/pilot/{generator}.log",
    benchmark:
        "benchmarks/pilot/{generator}.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        prompts=CONFIG.planning.pilot_prompts,
    message:
        "Choose the pilot prompts of {wildcards.generator}"
    shell:
        "python scripts/pilot_prompts.py --prompts {input} --count {params.prompts} --output {output} --log {log}"


# Films and scores the first prompts of the evolution, whose videos the evolution then finds in the store.
rule pilot:
    input:
        expand("results/{generator}/pilot/scores.parquet", generator=CONFIG.generators),
