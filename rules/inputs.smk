# What comes from outside: models and prompt sets.


rule fetch:
    input:
        models=lambda wildcards: STUDY.manifests_of([CONFIG.models[wildcards.model]]),
        shipped=lambda wildcards: CONFIG.models[wildcards.model].shipped,
    output:
        LAYOUT.manifest("{model}"),
    log:
        LAYOUT.log("fetch", "{model}"),
    benchmark:
        LAYOUT.benchmark("fetch", "{model}")
    conda:
        "../envs/generation.yaml"
    resources:
        mem_mb=4000,
    params:
        decides=decides("fetch"),
    message:
        "Fetch model {wildcards.model}"
    shell:
        "python scripts/fetch_model.py {wildcards.model} --log {log}"


rule reader:
    input:
        lambda wildcards: STUDY.manifests_of([CONFIG.generators[wildcards.track]]),
    output:
        LAYOUT.reader("{track}"),
    log:
        LAYOUT.log("reader", "{track}"),
    benchmark:
        LAYOUT.benchmark("reader", "{track}")
    conda:
        "../envs/generation.yaml"
    params:
        decides=decides("reader"),
    message:
        "Record how much of a text {wildcards.track} reads"
    shell:
        "python scripts/reader.py {wildcards.track} --log {log}"


rule prompt_source:
    input:
        files=lambda wildcards: CONFIG.prompt_sources[
            wildcards.prompt_source
        ].files_here,
        without=lambda wildcards: map(
            LAYOUT.prompt_source,
            CONFIG.prompt_sources[wildcards.prompt_source].without,
        ),
    output:
        table=LAYOUT.prompt_source("{prompt_source}"),
        record=LAYOUT.source_record("{prompt_source}"),
    log:
        LAYOUT.log("prompt_source", "{prompt_source}"),
    benchmark:
        LAYOUT.benchmark("prompt_source", "{prompt_source}")
    wildcard_constraints:
        prompt_source=pattern(CONFIG.prompt_sources) or "none",
    conda:
        "../envs/workflow.yaml"
    resources:
        mem_mb=12000,
    params:
        decides=decides("prompt_source"),
    message:
        "Read the captions of {wildcards.prompt_source}"
    shell:
        "python scripts/prompt_source.py {wildcards.prompt_source} --log {log}"


rule pair_source:
    input:
        files=lambda wildcards: CONFIG.pair_sources[wildcards.pair_source].files_here,
        tests=[LAYOUT.prompt_set(name) for name in STUDY.evaluated()],
    output:
        table=LAYOUT.pair_source("{pair_source}"),
        record=LAYOUT.pair_record("{pair_source}"),
    log:
        LAYOUT.log("pair_source", "{pair_source}"),
    benchmark:
        LAYOUT.benchmark("pair_source", "{pair_source}")
    wildcard_constraints:
        pair_source=pattern(CONFIG.pair_sources) or "none",
    conda:
        "../envs/workflow.yaml"
    params:
        decides=decides("pair_source"),
    message:
        "Read the pairs of {wildcards.pair_source}"
    shell:
        "python scripts/pair_source.py {wildcards.pair_source} --log {log}"


rule instruction:
    output:
        LAYOUT.instruction("{refiner}"),
    log:
        LAYOUT.log("instruction", "{refiner}"),
    benchmark:
        LAYOUT.benchmark("instruction", "{refiner}")
    wildcard_constraints:
        refiner=pattern(
            name for name, entry in CONFIG.refiners.items() if entry.published
        )
        or "none",
    conda:
        "../envs/workflow.yaml"
    params:
        decides=decides("instruction"),
    message:
        "Read the instruction of {wildcards.refiner}"
    shell:
        "python scripts/instruction.py {wildcards.refiner} --log {log}"


rule prompt_set:
    input:
        prompts=lambda wildcards: CONFIG.prompt_sets[wildcards.prompt_set].path,
        apart=lambda wildcards: map(
            LAYOUT.prompt_set, STUDY.apart(wildcards.prompt_set)
        ),
        rows=lambda wildcards: VBENCH.list_of(
            *VBENCH.judging(wildcards.prompt_set).values()
        ),
    output:
        LAYOUT.prompt_set("{prompt_set}"),
    log:
        LAYOUT.log("prompt_set", "{prompt_set}"),
    benchmark:
        LAYOUT.benchmark("prompt_set", "{prompt_set}")
    conda:
        "../envs/workflow.yaml"
    params:
        decides=decides("prompt_set"),
    message:
        "Read prompt set {wildcards.prompt_set}"
    shell:
        "python scripts/prompt_set.py {wildcards.prompt_set} --log {log}"


rule check_base:
    input:
        STUDY.base,
        CONFIG.booster.instruction,
    output:
        LAYOUT.base,
    log:
        LAYOUT.log("check_base"),
    benchmark:
        LAYOUT.benchmark("check_base")
    conda:
        "../envs/booster.yaml"
    params:
        decides=decides("check_base"),
    message:
        "Check that {CONFIG.booster.base} can be a booster's base"
    shell:
        "python scripts/check_base.py --log {log}"
