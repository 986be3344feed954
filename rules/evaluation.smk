# Evaluation: each refiner rewrites the held-out prompts; the batch pipeline films and scores them.


def refine_inputs(wildcards):
    """A booster's card and base, an LLM refiner's template, or nothing for the original prompts."""
    refiner = CONFIG.refiners[wildcards.refiner]
    if refiner.kind == "booster":
        card = f"results/{wildcards.generator}/boosters/{refiner.stage}/booster.json"
        return [card, manifest(CONFIG.booster.base), CONFIG.booster.instruction]
    return [refiner.template] if refiner.kind == "llm" else []


def refine_options(wildcards):
    """What the refiner needs beside its own entry."""
    refiner = CONFIG.refiners[wildcards.refiner]
    if refiner.kind == "booster":
        return PLAN.options(
            settings=section("booster"),
            base=f"resources/models/{CONFIG.booster.base}",
            booster=f"results/{wildcards.generator}/boosters/{refiner.stage}",
        )
    if refiner.kind == "llm":
        return PLAN.options(operator=section(f"operators.{refiner.operator}"))
    return ""


rule refine:
    message:
        "Refine {wildcards.set} with {wildcards.refiner} for {wildcards.generator}"
    input:
        refine_inputs,
        prompt_set=lambda wildcards: "results/prompt_sets/"
        f"{CONFIG.evaluation.sets[wildcards.set].prompts}.parquet",
    output:
        "results/{generator}/evaluation/{set}/{refiner}/prompts.parquet",
    log:
        "logs/refine/{generator}/{set}/{refiner}.log",
    benchmark:
        "benchmarks/refine/{generator}/{set}/{refiner}.tsv"
    params:
        entry=lambda wildcards: section(f"refiners.{wildcards.refiner}"),
        options=refine_options,
        replicates=lambda wildcards: CONFIG.evaluation.sets[wildcards.set].replicates,
        seed=CONFIG.seed,
    conda:
        "../envs/booster.yaml"
    threads: lambda wildcards: CONFIG.booster.threads if CONFIG.refiners[wildcards.refiner].kind == "booster" else 1
    resources:
        mem_mb=4000,
    shell:
        "python scripts/refine.py --prompt-set {input.prompt_set} --refiner {wildcards.refiner} "
        "--entry {params.entry:q} {params.options} --replicates {params.replicates} --seed {params.seed} "
        "--output {output} --log {log}"
