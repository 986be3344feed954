# Tables, figures and the report.


rule videoscore:
    input:
        scores=lambda wildcards: [arm["scores"] for arm in arms(wildcards)],
        cards=lambda wildcards: cards(arms(wildcards)),
        paper="resources/paper/table1_videoscore.csv",
    output:
        multiext(
            "results/{scope}/videoscore",
            ".csv",
            ".md",
            ".tex",
            ".notes.json",
            ".provenance.json",
        ),
    log:
        "logs/{scope}/videoscore.log",
    benchmark:
        "benchmarks/{scope}/videoscore.tsv"
    wildcard_constraints:
        scope=f"tables|(?:{PLAN.pattern('generators')})/tables",
    conda:
        "../envs/report.yaml"
    params:
        arms=lambda wildcards: PLAN.as_json(arms(wildcards)),
        bootstrap=PLAN.as_json(CONFIG.evaluation.bootstrap.model_dump()),
        stem=subpath(output[0], strip_suffix=".csv"),
        paper=subpath(input.paper, parent=True),
        scale=CONFIG.scale,
        published=PUBLISHED,
        seed=CONFIG.seed,
    message:
        "Compare the refiners in results/{wildcards.scope}/videoscore.csv"
    shell:
        "python scripts/videoscore_table.py --arms {params.arms:q} --bootstrap {params.bootstrap:q} "
        "--paper {params.paper} --scale {params.scale} --published {params.published:q} --seed {params.seed} --stem {params.stem} --log {log}"


rule figures:
    input:
        rounds=rules.pairs.input,
        logs=expand(
            "results/{{generator}}/boosters/{stage}/log.csv", stage=CONFIG.stages
        ),
        sheet=lambda wildcards: PLAN.sheet(wildcards.generator).values(),
        # The videos themselves are in the store; one that is gone is filmed again for its manifest.
        manifests=lambda wildcards: [
            manifest
            for batch in PLAN.shown(wildcards.generator)
            for manifest in manifests(wildcards, batch)
        ],
    output:
        multiext(
            "results/{generator}/figures/",
            "evolution.png",
            "training.png",
            "contact_sheet.png",
        ),
    log:
        "logs/figures/{generator}.log",
    benchmark:
        "benchmarks/figures/{generator}.tsv"
    conda:
        "../envs/report.yaml"
    params:
        evolution=PLAN.as_json(CONFIG.evolution.pairs),
        logs=lambda wildcards, input: PLAN.as_json(dict(zip(CONFIG.stages, input.logs))),
        sheet=lambda wildcards: PLAN.as_json(PLAN.sheet(wildcards.generator)),
        folder=subpath(output[0], parent=True),
        store=CONFIG.store,
    message:
        "Draw the figures of {wildcards.generator}"
    shell:
        "python scripts/figures.py --rounds {input.rounds} --evolution {params.evolution:q} --logs {params.logs:q} "
        "--sheet {params.sheet:q} --store {params.store:q} --generator {wildcards.generator} --folder {params.folder} --log {log}"


rule report:
    input:
        videoscore="results/tables/videoscore.csv",
        tables=expand("results/tables/{table}.csv", table=VBENCH.tables),
        figures=expand(
            "results/{generator}/figures/contact_sheet.png",
            generator=CONFIG.generators,
        ),
    output:
        html="results/report.html",
        stages="results/figures/stages.png",
    log:
        "logs/report.log",
    benchmark:
        "benchmarks/report.tsv"
    conda:
        "../envs/report.yaml"
    params:
        figures=PLAN.as_json(
            {name: f"results/{name}/figures" for name in CONFIG.generators}
        ),
    message:
        "Write results/report.html"
    shell:
        "python scripts/report.py --videoscore {input.videoscore} --tables {input.tables} --figures {params.figures:q} "
        "--stages {output.stages} --output {output.html} --log {log}"
