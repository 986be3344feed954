# Evaluation: each refiner rewrites the held-out prompts; the batch pipeline films and scores them.


rule refine:
    input:
        refine_inputs,
        prompt_set=lambda wildcards: "results/prompt_sets/"
        f"{CONFIG.evaluation.sets[wildcards.set].prompts}.parquet",
    output:
        prompts="results/{generator}/evaluation/{set}/{refiner}/prompts.parquet",
        timing="results/{generator}/evaluation/{set}/{refiner}/prompts.timing.json",
    log:
        "logs/refine/{generator}/{set}/{refiner}.log",
    benchmark:
        "benchmarks/refine/{generator}/{set}/{refiner}.tsv"
    conda:
        "../envs/booster.yaml"
    threads: refine_threads
    resources:
        mem_mb=4000,
    params:
        entry=lambda wildcards: section(f"refiners.{wildcards.refiner}"),
        options=refine_options,
        answers=refine_answers,
        operator=refine_operator,
        replicates=lambda wildcards: CONFIG.evaluation.sets[wildcards.set].replicates,
        seed=CONFIG.seed,
    message:
        "Refine {wildcards.set} with {wildcards.refiner} for {wildcards.generator}"
    shell:
        "python scripts/refine.py --prompt-set {input.prompt_set} --refiner {wildcards.refiner} "
        "--entry {params.entry:q} {params.options} {params.operator} --replicates {params.replicates} --seed {params.seed} "
        "--output {output.prompts} --timing {output.timing} --log {log}"
