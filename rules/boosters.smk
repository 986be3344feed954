# Boosters: pairs or triples, and the trainings on them.


rule pairs:
    input:
        pair_inputs,
    output:
        LAYOUT.pairs("{track}"),
    log:
        LAYOUT.log("pairs", "{track}"),
    benchmark:
        LAYOUT.benchmark("pairs", "{track}")
    conda:
        "../envs/workflow.yaml"
    params:
        decides=decides("pairs"),
    message:
        "Select the SFT pairs of {wildcards.track}"
    shell:
        "python scripts/pairs.py {wildcards.track} --log {log}"


rule negatives:
    input:
        pairs=LAYOUT.pairs("{track}"),
        template=CONFIG.negatives.template if CONFIG.negatives else [],
    output:
        table=LAYOUT.negatives("{track}"),
        record=LAYOUT.negatives_record("{track}"),
    log:
        LAYOUT.log("negatives", "{track}"),
    benchmark:
        LAYOUT.benchmark("negatives", "{track}")
    conda:
        "../envs/workflow.yaml"
    params:
        decides=decides("negatives"),
    message:
        "Derive negative prompts from the pairs of {wildcards.track}"
    shell:
        "python scripts/negatives.py {wildcards.track} --log {log}"


rule triples:
    input:
        lambda wildcards: map(at(wildcards)[1].scores, at(wildcards)[0].judges),
    output:
        LAYOUT.batch("{track}", "{batch}").triples,
    log:
        LAYOUT.log("triples", "{track}", "{batch}"),
    benchmark:
        LAYOUT.benchmark("triples", "{track}", "{batch}")
    wildcard_constraints:
        batch=of_source(Draw),
    conda:
        "../envs/workflow.yaml"
    params:
        decides=decides("triples"),
    message:
        "Select the triples of {wildcards.track} {wildcards.batch}"
    shell:
        "python scripts/triples.py {wildcards.track} {wildcards.batch} --log {log}"


rule train:
    input:
        data=lambda wildcards: STUDY.sources(booster_of(wildcards)),
        released=lambda wildcards: map(
            LAYOUT.pair_record, STUDY.released(booster_of(wildcards))
        ),
        start=lambda wildcards: STUDY.cards(booster_of(wildcards).chain[:-1]),
        base=STUDY.base,
        instruction=lambda wildcards: instruction_of(booster_of(wildcards)),
    output:
        card=LAYOUT.booster("{home}", "{booster}").card,
        adapter=directory(LAYOUT.booster("{home}", "{booster}").adapter),
        losses=LAYOUT.booster("{home}", "{booster}").log,
    log:
        LAYOUT.log("train", "{home}", "{booster}"),
    benchmark:
        LAYOUT.benchmark("train", "{home}", "{booster}")
    conda:
        "../envs/booster.yaml"
    threads: CONFIG.booster.threads * CONFIG.booster.devices
    resources:
        mem_mb=6000,
    params:
        decides=decides("train"),
    message:
        "Train the booster {wildcards.booster} of {wildcards.home}"
    shell:
        "python scripts/train_booster.py {wildcards.home} {wildcards.booster} --log {log}"


# For the repository, from a finished run: the last booster of each track, small enough to be committed.
rule ship_booster:
    input:
        cards=lambda wildcards: STUDY.cards([STUDY.boosters(wildcards.track)[-1]]),
        base=STUDY.base,
        readers=lambda wildcards: STUDY.readers([wildcards.track]),
        gains="results/tables/videoscore.csv",
    output:
        directory("resources/retrained/booster/{track}"),
    log:
        LAYOUT.log("ship_booster", "{track}"),
    benchmark:
        LAYOUT.benchmark("ship_booster", "{track}")
    conda:
        "../envs/generation.yaml"  # as for fetched models: a base model that went away is fetched again
    params:
        booster=lambda wildcards: STUDY.boosters(wildcards.track)[-1].name,
    message:
        "Write the last booster of {wildcards.track} as one small adapter"
    shell:
        "python scripts/ship_booster.py {wildcards.track} {params.booster} --export {output} --log {log}"
