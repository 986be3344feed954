# Boosters: SFT on pairs, then rounds of DPO on triples of candidates drawn from the round before.


rule check_base:
    input:
        base=manifest(CONFIG.booster.base),
        instruction=CONFIG.booster.instruction,
    output:
        "results/boosters/base.json",
    log:
        "logs/boosters/base.log",
    benchmark:
        "benchmarks/boosters/base.tsv"
    conda:
        "../envs/booster.yaml"
    params:
        settings=training_settings(),
        base=lambda wildcards, input: Path(input.base).parent,
    message:
        "Check that {CONFIG.booster.base} can be a booster's base"
    shell:
        "python scripts/check_base.py {params.base} --settings {params.settings:q} --output {output} --log {log}"


rule sft:
    input:
        data="results/{generator}/pairs.parquet",
        base=manifest(CONFIG.booster.base),
        instruction=CONFIG.booster.instruction,
    output:
        card=booster("sft"),
        adapter=directory("results/{generator}/boosters/sft/adapter"),
        log="results/{generator}/boosters/sft/log.csv",
    log:
        "logs/boosters/{generator}/sft.log",
    benchmark:
        "benchmarks/boosters/{generator}/sft.tsv"
    conda:
        "../envs/booster.yaml"
    threads: CONFIG.booster.threads * CONFIG.booster.devices
    resources:
        mem_mb=6000,
    params:
        settings=training_settings(),
        base=lambda wildcards, input: Path(input.base).parent,
        output=lambda wildcards, output: Path(output.card).parent,
        checkpoints=f"{CONFIG.store}/{{generator}}/checkpoints",
        seed=CONFIG.seed,
    message:
        "Train the SFT booster of {wildcards.generator}"
    shell:
        "python scripts/train_booster.py sft --data {input.data} --settings {params.settings:q} --base {params.base} "
        "--checkpoints {params.checkpoints:q} --seed {params.seed} --output {params.output} "
        "--log {log}"


rule candidates:
    input:
        prompt_set=f"results/prompt_sets/{CONFIG.preference.prompts}.parquet",
        base=manifest(CONFIG.booster.base),
        instruction=CONFIG.booster.instruction,
        booster=lambda wildcards: booster(PLAN.previous(f"dpo-{wildcards.round}")),
        chain=lambda wildcards: cards_up_to(PLAN.previous(f"dpo-{wildcards.round}")),
    output:
        prompts="results/{generator}/dpo-{round}/prompts.parquet",
        timing="results/{generator}/dpo-{round}/prompts.timing.json",
    log:
        "logs/candidates/{generator}/dpo-{round}.log",
    benchmark:
        "benchmarks/candidates/{generator}/dpo-{round}.tsv"
    conda:
        "../envs/booster.yaml"
    threads: CONFIG.booster.threads
    resources:
        mem_mb=4000,
    params:
        settings=section("booster"),
        candidates=CONFIG.preference.candidates,
        base=lambda wildcards, input: Path(input.base).parent,
        booster=lambda wildcards, input: Path(input.booster).parent,
        seed=CONFIG.seed,
    message:
        "Draw the candidates of dpo-{wildcards.round} for {wildcards.generator}"
    shell:
        "python scripts/candidates.py --prompt-set {input.prompt_set} --settings {params.settings:q} "
        "--base {params.base} --booster {params.booster} --count {params.candidates} --round {wildcards.round} "
        "--seed {params.seed} --output {output.prompts} --timing {output.timing} --log {log}"


rule triples:
    input:
        "results/{generator}/dpo-{round}/scores.parquet",
    output:
        "results/{generator}/dpo-{round}/triples.parquet",
    log:
        "logs/triples/{generator}/dpo-{round}.log",
    benchmark:
        "benchmarks/triples/{generator}/dpo-{round}.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        settings=PLAN.as_json(CONFIG.preference.triples.model_dump(mode="json")),
    message:
        "Select the triples of dpo-{wildcards.round} for {wildcards.generator}"
    shell:
        "python scripts/triples.py --scores {input} --settings {params.settings:q} --output {output} --log {log}"


rule dpo:
    input:
        data="results/{generator}/dpo-{round}/triples.parquet",
        base=manifest(CONFIG.booster.base),
        instruction=CONFIG.booster.instruction,
        previous=lambda wildcards: booster(PLAN.previous(f"dpo-{wildcards.round}")),
        chain=lambda wildcards: cards_up_to(PLAN.previous(f"dpo-{wildcards.round}")),
    output:
        card=booster("dpo-{round}"),
        adapter=directory("results/{generator}/boosters/dpo-{round}/adapter"),
        log="results/{generator}/boosters/dpo-{round}/log.csv",
    log:
        "logs/boosters/{generator}/dpo-{round}.log",
    benchmark:
        "benchmarks/boosters/{generator}/dpo-{round}.tsv"
    conda:
        "../envs/booster.yaml"
    threads: CONFIG.booster.threads * CONFIG.booster.devices
    resources:
        mem_mb=6000,
    params:
        settings=training_settings(),
        base=lambda wildcards, input: Path(input.base).parent,
        previous=lambda wildcards, input: Path(input.previous).parent,
        output=lambda wildcards, output: Path(output.card).parent,
        checkpoints=f"{CONFIG.store}/{{generator}}/checkpoints",
        seed=CONFIG.seed,
    message:
        "Train the dpo-{wildcards.round} booster of {wildcards.generator}"
    shell:
        "python scripts/train_booster.py dpo --data {input.data} --settings {params.settings:q} --base {params.base} "
        "--previous {params.previous} --checkpoints {params.checkpoints:q} --seed {params.seed} "
        "--output {params.output} --log {log}"
