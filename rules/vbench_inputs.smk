# VBench's prompts and checkpoints.


rule vbench_prompts:
    input:
        CONFIG.vbench.subset,
    output:
        all="resources/vbench/vbench.jsonl",
        chosen="resources/vbench/vbench100.jsonl",
    log:
        "logs/vbench/prompts.log",
    benchmark:
        "benchmarks/vbench/prompts.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        version=CONFIG.vbench.version,
        sha256=CONFIG.vbench.sha256,
    message:
        "Read VBench's prompts out of its wheel"
    shell:
        "python scripts/vbench_prompts.py --version {params.version:q} --sha256 {params.sha256} --subset {input:q} "
        "--all {output.all} --chosen {output.chosen} --log {log}"


rule vbench_checkpoint:
    output:
        "resources/vbench/checkpoints/{checkpoint}.json",
    log:
        "logs/vbench/checkpoints/{checkpoint}.log",
    benchmark:
        "benchmarks/vbench/checkpoints/{checkpoint}.tsv"
    wildcard_constraints:
        checkpoint="|".join(VBENCH.checkpoints),
    conda:
        "../envs/workflow.yaml"
    params:
        entry=lambda wildcards: VBENCH.entry(wildcards.checkpoint),
        told=lambda wildcards: VBENCH.describe(wildcards.checkpoint),
        cache=VBENCH.cache,
    message:
        "Fetch VBench's {params.told}"
    shell:
        "python scripts/vbench_checkpoint.py {wildcards.checkpoint} --entry {params.entry:q} --cache {params.cache} "
        "--output {output} --log {log}"


# `snakemake vbench_checkpoints -n` lists what is missing for all sets of the configuration.
rule vbench_checkpoints:
    input:
        VBENCH.records(VBENCH.checkpoints_needed()),
