# Reward-guided evolution: round 0 films the originals, each later round what the operator made of all scores so far.


rule propose:
    input:
        prompt_set=f"results/prompt_sets/{CONFIG.evolution.prompts}.parquet",
        scores=lambda wildcards: expand(
            "results/{{generator}}/evolution/round-{earlier}/scores.parquet",
            earlier=range(int(wildcards.round)),
        ),
        template=CONFIG.evolution.template,
        # Before anything is filmed; the check of another base makes no round anew.
        base=ancient("results/boosters/base.json"),
    output:
        "results/{generator}/evolution/round-{round}/prompts.parquet",
    log:
        "logs/propose/{generator}/round-{round}.log",
    benchmark:
        "benchmarks/propose/{generator}/round-{round}.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        settings=lambda wildcards: PLAN.as_json(
            CONFIG.evolution.round(int(wildcards.round))
        ),
        answers=propose_answers,
        # Snakemake takes what is derived from the output for no reason to run again: a raised budget reruns no round.
        operator=propose_operator,
        store=CONFIG.store,
        seed=CONFIG.seed,
    message:
        "Propose the prompts of evolution round {wildcards.round} for {wildcards.generator}"
    shell:
        "python scripts/propose.py --prompt-set {input.prompt_set} --scores {input.scores} --round {wildcards.round} "
        "--generator {wildcards.generator} --settings {params.settings:q} {params.operator} "
        "--store {params.store:q} --seed {params.seed} --output {output} --log {log}"


rule pairs:
    input:
        expand(
            "results/{{generator}}/evolution/round-{round}/scores.parquet",
            round=range(CONFIG.evolution.rounds + 1),
        ),
    output:
        "results/{generator}/pairs.parquet",
    log:
        "logs/pairs/{generator}.log",
    benchmark:
        "benchmarks/pairs/{generator}.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        settings=PLAN.as_json(CONFIG.evolution.pairs),
    message:
        "Select the SFT pairs of {wildcards.generator}"
    shell:
        "python scripts/pairs.py --scores {input} --settings {params.settings:q} --output {output} --log {log}"
