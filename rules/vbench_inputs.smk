# VBench's prompts and checkpoints.


rule vbench_prompts:
    input:
        CONFIG.vbench.subset,
    output:
        LAYOUT.vbench_rows,
        LAYOUT.vbench_ablation,
    log:
        LAYOUT.log("vbench_prompts"),
    benchmark:
        LAYOUT.benchmark("vbench_prompts")
    conda:
        "../envs/workflow.yaml"
    params:
        decides=decides("vbench_prompts"),
    message:
        "Read VBench's prompts out of its wheel"
    shell:
        "python scripts/vbench_prompts.py --log {log}"


rule vbench_checkpoint:
    output:
        LAYOUT.checkpoint("{checkpoint}"),
    log:
        LAYOUT.log("vbench_checkpoint", "{checkpoint}"),
    benchmark:
        LAYOUT.benchmark("vbench_checkpoint", "{checkpoint}")
    wildcard_constraints:
        checkpoint=pattern(VBENCH.checkpoints),
    conda:
        "../envs/workflow.yaml"
    params:
        decides=decides("vbench_checkpoint"),
        described=lambda wildcards, output: describe(
            wildcards.checkpoint, VBENCH.checkpoints[wildcards.checkpoint]
        ),
    message:
        "Fetch VBench's {params.described}"
    shell:
        "python scripts/vbench_checkpoint.py {wildcards.checkpoint} --log {log}"


# `snakemake vbench_checkpoints -n` lists what is missing for all sets of the configuration.
rule vbench_checkpoints:
    input:
        VBENCH.checkpoints_needed(),
