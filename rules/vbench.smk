# VBench: a batch's videos under the names that it wants, one job a dimension and shard, and its tables.


rule vbench_videos:
    input:
        prompts="results/{generator}/evaluation/{set}/{refiner}/prompts.parquet",
        manifests=lambda wildcards: manifests(
            wildcards, f"evaluation/{wildcards.set}/{wildcards.refiner}"
        ),
        rows=lambda wildcards: VBENCH.rows(wildcards.set),
    output:
        "results/{generator}/evaluation/{set}/{refiner}/vbench/videos.json",
    log:
        "logs/vbench/{generator}/{set}/{refiner}/videos.log",
    benchmark:
        "benchmarks/vbench/{generator}/{set}/{refiner}/videos.tsv"
    conda:
        "../envs/judges.yaml"
    params:
        settings=lambda wildcards: PLAN.as_json(VBENCH.set(wildcards.set).model_dump()),
        rows=lambda wildcards, input: (f"--rows {input.rows}" if input.rows else ""),
        store=CONFIG.store,
    message:
        "Show VBench {wildcards.generator} {wildcards.set} {wildcards.refiner}"
    shell:
        "python scripts/vbench_videos.py --prompts {input.prompts} --manifests {input.manifests} --settings {params.settings:q} "
        "{params.rows} --store {params.store:q} --generator {wildcards.generator} "
        "--stage 'list {wildcards.set}/{wildcards.refiner}' --output {output} --log {log}"


rule vbench_dimension:
    input:
        listing="results/{generator}/evaluation/{set}/{refiner}/vbench/videos.json",
        checkpoints=lambda wildcards: VBENCH.records(
            VBENCH.checkpoints_of(wildcards.dimension)
        ),
    output:
        "results/{generator}/evaluation/{set}/{refiner}/vbench/{dimension}/{shard}.json",
    log:
        "logs/vbench/{generator}/{set}/{refiner}/{dimension}/{shard}.log",
    benchmark:
        "benchmarks/vbench/{generator}/{set}/{refiner}/{dimension}/{shard}.tsv"
    wildcard_constraints:
        dimension="|".join(VBENCH.dimensions),
    conda:
        "../envs/vbench.yaml"
    resources:
        mem_mb=4000,
    params:
        # Derived from the output, since where the interpreter is judges nothing anew; see evolution.smk.
        python=lambda wildcards, output: VBENCH.python,
        size=CONFIG.vbench.shard_size,
        device=CONFIG.vbench.device,
        cache=VBENCH.cache,
    message:
        "Judge {wildcards.dimension} of {wildcards.generator} {wildcards.set} {wildcards.refiner}, shard {wildcards.shard}"
    shell:
        "{params.python:q} scripts/vbench_dimension.py {wildcards.dimension} --listing {input.listing} "
        "--shard {wildcards.shard} --shard-size {params.size} --checkpoints {input.checkpoints} --cache {params.cache} "
        "--device {params.device} --output {output} --log {log}"


rule vbench_gather:
    input:
        listing="results/{generator}/evaluation/{set}/{refiner}/vbench/videos.json",
        results=lambda wildcards: VBENCH.results(
            wildcards.generator, wildcards.set, wildcards.refiner
        ),
        manifests=lambda wildcards: manifests(
            wildcards, f"evaluation/{wildcards.set}/{wildcards.refiner}"
        ),
        written="results/{generator}/evaluation/{set}/{refiner}/prompts.timing.json",
        source=ancient(
            lambda wildcards: source_record(
                wildcards, f"evaluation/{wildcards.set}/{wildcards.refiner}"
            )
        ),
        checkpoints=lambda wildcards: VBENCH.records(
            VBENCH.checkpoints_of(*VBENCH.set(wildcards.set).names)
        ),
        models=lambda wildcards: [
            manifest(model) for model in CONFIG.generators[wildcards.generator].models
        ],
    output:
        scores="results/{generator}/evaluation/{set}/{refiner}/vbench/scores.parquet",
        origin="results/{generator}/evaluation/{set}/{refiner}/vbench/scores.provenance.json",
    log:
        "logs/vbench/{generator}/{set}/{refiner}/gather.log",
    benchmark:
        "benchmarks/vbench/{generator}/{set}/{refiner}/gather.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        settings=lambda wildcards: PLAN.as_json(VBENCH.set(wildcards.set).model_dump()),
        folder=subpath(output[0], parent=True),
        generator=lambda wildcards: section(f"generators.{wildcards.generator}"),
        models=lambda wildcards: PLAN.as_json(
            CONFIG.generators[wildcards.generator].models
        ),
        # Derived from the output, since other settings that give the same prompts gather nothing anew; see evolution.smk.
        prompt_set=lambda wildcards, output: PLAN.prompt_set(
            f"evaluation/{wildcards.set}"
        ),
        prompts=lambda wildcards, output: prompts_entry(f"evaluation/{wildcards.set}"),
        # Likewise: where the records of filming lie changes none.
        store=lambda wildcards, output: f"{CONFIG.store}/{wildcards.generator}",
        run=lambda wildcards: run_record(
            wildcards.generator, f"evaluation/{wildcards.set}/{wildcards.refiner}"
        ),
    message:
        "Gather VBench's results of {wildcards.generator} {wildcards.set} {wildcards.refiner}"
    shell:
        "python scripts/vbench_gather.py {params.folder} --settings {params.settings:q} --results {input.results} "
        "--manifests {input.manifests} --checkpoints {input.checkpoints} --generator {params.generator:q} "
        "--models {params.models:q} --written {input.written} --prompt-set {params.prompt_set} "
        "--prompts {params.prompts:q} --store {params.store:q} --run {params.run:q} --log {log}"


rule vbench_table:
    input:
        arms=lambda wildcards: VBENCH.files(
            compared_generators(wildcards), wildcards.table
        ),
        cards=lambda wildcards: cards(
            VBENCH.arms(compared_generators(wildcards), wildcards.table)
        ),
        paper="resources/paper/table8_vbench.csv",
    output:
        multiext(
            "results/{scope}/{table}",
            ".csv",
            ".md",
            ".tex",
            ".notes.json",
            ".provenance.json",
        ),
    log:
        "logs/{scope}/{table}.log",
    benchmark:
        "benchmarks/{scope}/{table}.tsv"
    wildcard_constraints:
        scope=f"tables|(?:{PLAN.pattern('generators')})/tables",
        table="|".join(VBENCH.tables) or "no-table",
    conda:
        "../envs/report.yaml"
    params:
        kind=lambda wildcards: VBENCH.kind(wildcards.table),
        arms=lambda wildcards: PLAN.as_json(
            VBENCH.arms(compared_generators(wildcards), wildcards.table)
        ),
        bootstrap=PLAN.as_json(CONFIG.evaluation.bootstrap.model_dump()),
        stem=subpath(output[0], strip_suffix=".csv"),
        scale=CONFIG.scale,
        published=PUBLISHED,
        seed=CONFIG.seed,
    message:
        "Compare the refiners in results/{wildcards.scope}/{wildcards.table}.csv"
    shell:
        "python scripts/vbench_table.py {params.kind} --arms {params.arms:q} --bootstrap {params.bootstrap:q} "
        "--paper {input.paper} --scale {params.scale} --published {params.published:q} --seed {params.seed} --stem {params.stem} --log {log}"
