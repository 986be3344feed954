# What comes from outside: models and prompt sets.


rule fetch:
    input:
        fetch_inputs,
    output:
        "resources/models/{model}/manifest.json",
    log:
        "logs/fetch/{model}.log",
    benchmark:
        "benchmarks/fetch/{model}.tsv"
    conda:
        "../envs/generation.yaml"
    resources:
        mem_mb=4000,
    params:
        entry=lambda wildcards: section(f"models.{wildcards.model}"),
    message:
        "Fetch model {wildcards.model}"
    shell:
        "python scripts/fetch_model.py {wildcards.model} --entry {params.entry:q} --models resources/models --log {log}"


rule prompt_source:
    input:
        lambda wildcards: prompt_source_inputs(wildcards.prompt_source),
    output:
        table="resources/prompts/{prompt_source}.parquet",
        origin="resources/prompts/{prompt_source}.json",
    log:
        "logs/prompt_sources/{prompt_source}.log",
    benchmark:
        "benchmarks/prompt_sources/{prompt_source}.tsv"
    wildcard_constraints:
        prompt_source=PLAN.pattern("prompt_sources") or "no-source",
    conda:
        "../envs/workflow.yaml"
    resources:
        mem_mb=12000,
    params:
        settings=lambda wildcards: section(f"prompt_sources.{wildcards.prompt_source}"),
    message:
        "Read the captions of {wildcards.prompt_source}"
    shell:
        "python scripts/prompt_source.py {wildcards.prompt_source} --settings {params.settings:q} "
        "--output {output.table} --origin {output.origin} --log {log}"


rule prompt_set:
    input:
        prompts=lambda wildcards: CONFIG.prompt_sets[wildcards.prompt_set].path,
        apart=lambda wildcards: expand(
            "results/prompt_sets/{learned}.parquet",
            learned=PLAN.apart(wildcards.prompt_set),
        ),
        rows=lambda wildcards: VBENCH.rows(*VBENCH.judging(wildcards.prompt_set)),
    output:
        "results/prompt_sets/{prompt_set}.parquet",
    log:
        "logs/prompt_sets/{prompt_set}.log",
    benchmark:
        "benchmarks/prompt_sets/{prompt_set}.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        settings=lambda wildcards: section(f"prompt_sets.{wildcards.prompt_set}"),
        # Derived from the output, since other dimensions change no prompt; see evolution.smk.
        judged=lambda wildcards, output: PLAN.as_json(
            VBENCH.judging(wildcards.prompt_set)
        ),
        rows=lambda wildcards, input: (f"--rows {input.rows}" if input.rows else ""),
    message:
        "Read prompt set {wildcards.prompt_set}"
    shell:
        "python scripts/prompt_set.py {wildcards.prompt_set} --settings {params.settings:q} --apart {input.apart} "
        "--judged {params.judged:q} {params.rows} --output {output} --log {log}"
