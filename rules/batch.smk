# The one pipeline that evolution, preference and evaluation share: film a prompts table, score the videos, gather.
from promptavideo import provenance


rule film:
    input:
        prompts="results/{generator}/{batch}/prompts.parquet",
        models=lambda wildcards: [
            manifest(model) for model in CONFIG.generators[wildcards.generator].models
        ],
    output:
        manifest="results/{generator}/{batch}/videos/{shard}.jsonl",
        timing="results/{generator}/{batch}/videos/{shard}.timing.json",
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
        videos=lambda wildcards: PLAN.videos(wildcards.generator),
        # Derived from the output, since a raised budget or another offload films nothing anew; see evolution.smk.
        settings=lambda wildcards, output: section(f"generators.{wildcards.generator}"),
        shard_size=lambda wildcards: PLAN.shard_size(
            wildcards.generator, wildcards.batch
        ),
        store=CONFIG.store,
    message:
        "Film {wildcards.generator} {wildcards.batch}, shard {wildcards.shard}"
    shell:
        "python scripts/film.py --prompts {input.prompts} --shard {wildcards.shard} --shard-size {params.shard_size} "
        "--generator {wildcards.generator} --settings {params.settings:q} --models resources/models --store {params.store:q} "
        "--manifest {output.manifest} --timing {output.timing} --stage 'film {wildcards.batch} shard {wildcards.shard}' --log {log}"


rule score:
    input:
        prompts="results/{generator}/{batch}/prompts.parquet",
        videos=lambda wildcards: expand(
            "results/{{generator}}/{{batch}}/videos/{shard}.jsonl",
            shard=scored_together(wildcards),
        ),
        rewards=reward_inputs(),
    output:
        rewards="results/{generator}/{batch}/rewards/{shard}.parquet",
        timing="results/{generator}/{batch}/rewards/{shard}.timing.json",
    log:
        "logs/score/{generator}/{batch}/{shard}.log",
    benchmark:
        "benchmarks/score/{generator}/{batch}/{shard}.tsv"
    conda:
        "../envs/judges.yaml"
    threads: max(getattr(entry, "threads", 1) for entry in CONFIG.judges.values())
    resources:
        mem_mb=2000,
    params:
        rewards=section("judges"),
        shards=lambda wildcards: scored_together(wildcards),
        shard_size=lambda wildcards: PLAN.shard_size(
            wildcards.generator, wildcards.batch
        ),
        store=CONFIG.store,
    message:
        "Score {wildcards.generator} {wildcards.batch}, shard {wildcards.shard}"
    shell:
        "python scripts/score.py --prompts {input.prompts} --shards {params.shards} --shard-size {params.shard_size} "
        "--manifests {input.videos} --generator {wildcards.generator} --rewards {params.rewards:q} --models resources/models "
        "--store {params.store:q} --output {output.rewards} --timing {output.timing} "
        "--stage 'score {wildcards.batch} shard {wildcards.shard}' --log {log}"


rule gather:
    input:
        prompts="results/{generator}/{batch}/prompts.parquet",
        rewards=lambda wildcards: expand(
            "results/{{generator}}/{{batch}}/rewards/{shard}.parquet",
            shard=PLAN.scored_together(wildcards.generator, wildcards.batch),
        ),
        manifests=lambda wildcards: manifests(wildcards, wildcards.batch),
        written=written,
        # Read anew, it makes no prompt another one.
        source=ancient(lambda wildcards: source_record(wildcards, wildcards.batch)),
        timings=lambda wildcards: expand(
            "results/{{generator}}/{{batch}}/rewards/{shard}.timing.json",
            shard=PLAN.scored_together(wildcards.generator, wildcards.batch),
        ),
        models=lambda wildcards: [
            manifest(model) for model in PLAN.judged_by(wildcards.generator)
        ],
    output:
        scores="results/{generator}/{batch}/scores.parquet",
        origin="results/{generator}/{batch}/scores.provenance.json",
    log:
        "logs/gather/{generator}/{batch}.log",
    benchmark:
        "benchmarks/gather/{generator}/{batch}.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        generator=lambda wildcards: section(f"generators.{wildcards.generator}"),
        rewards=section("judges"),
        models=lambda wildcards: PLAN.as_json(PLAN.judged_by(wildcards.generator)),
        filmed=lambda wildcards: len(PLAN.shards(wildcards.generator, wildcards.batch)),
        scored=lambda wildcards: len(
            PLAN.scored_together(wildcards.generator, wildcards.batch)
        ),
        folder=subpath(output[0], parent=True),
        # Derived from the output, since other settings that give the same prompts gather nothing anew; see evolution.smk.
        prompt_set=lambda wildcards, output: PLAN.prompt_set(wildcards.batch),
        prompts=lambda wildcards, output: prompts_entry(wildcards.batch),
        # Likewise: where the records of filming lie changes none.
        store=lambda wildcards, output: f"{CONFIG.store}/{wildcards.generator}",
        run=lambda wildcards: run_record(wildcards.generator, wildcards.batch),
    message:
        "Gather the scores of {wildcards.generator} {wildcards.batch}"
    shell:
        "python scripts/gather.py {params.folder} --filmed {params.filmed} --scored {params.scored} --generator {params.generator:q} "
        "--rewards {params.rewards:q} --models {params.models:q} --prompt-set {params.prompt_set} "
        "--prompts {params.prompts:q} --store {params.store:q} --run {params.run:q} --written {input.written} --log {log}"
