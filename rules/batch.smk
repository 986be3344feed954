# The one pipeline that evolution, preference and evaluation share: film a prompts table, score the videos, gather.


rule film:
    input:
        prompts="results/{generator}/{batch}/prompts.parquet",
        model=lambda wildcards: manifest(CONFIG.generators[wildcards.generator].model),
    output:
        "results/{generator}/{batch}/videos/{shard}.jsonl",
    log:
        "logs/film/{generator}/{batch}/{shard}.log",
    benchmark:
        "benchmarks/film/{generator}/{batch}/{shard}.tsv"
    conda:
        "../envs/generation.yaml"
    threads: lambda wildcards: CONFIG.generators[wildcards.generator].threads
    resources:
        mem_mb=3000,
    params:
        settings=lambda wildcards: section(f"generators.{wildcards.generator}"),
        model=lambda wildcards, input: Path(input.model).parent,
        shard_size=lambda wildcards: PLAN.shard_size(
            wildcards.generator, wildcards.batch
        ),
        store=CONFIG.store,
    message:
        "Film {wildcards.generator} {wildcards.batch}, shard {wildcards.shard}"
    shell:
        "python scripts/film.py --prompts {input.prompts} --shard {wildcards.shard} --shard-size {params.shard_size} "
        "--generator {wildcards.generator} --settings {params.settings:q} --model {params.model} --store {params.store:q} "
        "--manifest {output} --stage 'film {wildcards.batch} shard {wildcards.shard}' --log {log}"


rule score:
    input:
        prompts="results/{generator}/{batch}/prompts.parquet",
        videos="results/{generator}/{batch}/videos/{shard}.jsonl",
        rewards=reward_inputs(),
    output:
        "results/{generator}/{batch}/rewards/{shard}.parquet",
    log:
        "logs/score/{generator}/{batch}/{shard}.log",
    benchmark:
        "benchmarks/score/{generator}/{batch}/{shard}.tsv"
    conda:
        "../envs/rewards.yaml"
    threads: max(getattr(entry, "threads", 1) for entry in CONFIG.rewards.values())
    resources:
        mem_mb=2000,
    params:
        rewards=section("rewards"),
        shard_size=lambda wildcards: PLAN.shard_size(
            wildcards.generator, wildcards.batch
        ),
        store=CONFIG.store,
    message:
        "Score {wildcards.generator} {wildcards.batch}, shard {wildcards.shard}"
    shell:
        "python scripts/score.py --prompts {input.prompts} --shard {wildcards.shard} --shard-size {params.shard_size} "
        "--manifest {input.videos} --generator {wildcards.generator} --rewards {params.rewards:q} --models resources/models "
        "--store {params.store:q} --output {output} --stage 'score {wildcards.batch} shard {wildcards.shard}' --log {log}"


rule gather:
    input:
        prompts="results/{generator}/{batch}/prompts.parquet",
        rewards=lambda wildcards: expand(
            "results/{{generator}}/{{batch}}/rewards/{shard}.parquet",
            shard=PLAN.shards(wildcards.generator, wildcards.batch),
        ),
    output:
        "results/{generator}/{batch}/scores.parquet",
    log:
        "logs/gather/{generator}/{batch}.log",
    benchmark:
        "benchmarks/gather/{generator}/{batch}.tsv"
    conda:
        "../envs/workflow.yaml"
    message:
        "Gather the scores of {wildcards.generator} {wildcards.batch}"
    shell:
        "python scripts/gather.py --prompts {input.prompts} --rewards {input.rewards} --output {output} --log {log}"
