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
        "../envs/workflow.yaml"
    resources:
        mem_mb=4000,
    params:
        entry=lambda wildcards: section(f"models.{wildcards.model}"),
    message:
        "Fetch model {wildcards.model}"
    shell:
        "python scripts/fetch_model.py {wildcards.model} --entry {params.entry:q} --models resources/models --log {log}"


rule prompt_set:
    input:
        lambda wildcards: CONFIG.prompt_sets[wildcards.prompt_set].file,
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
    message:
        "Read prompt set {wildcards.prompt_set}"
    shell:
        "python scripts/prompt_set.py {wildcards.prompt_set} --settings {params.settings:q} "
        "--output {output} --log {log}"
