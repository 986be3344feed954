# What makes the prompts table of a batch: an operator, a booster or a refiner. The batch pipeline films and judges it.


rule propose:
    input:
        prompt_set=LAYOUT.prompt_set(CONFIG.evolution.prompts),
        scores=lambda wildcards: [
            STUDY.files(earlier).scores(REWARDS)
            for earlier in STUDY.before(at(wildcards)[0])
        ],
        template=lambda wildcards: STUDY.template(wildcards.track),
        reader=lambda wildcards: STUDY.readers(
            [wildcards.track] if STUDY.before(at(wildcards)[0]) else []
        ),
        # Before anything is filmed; a round that is there waits for no check. `ancient` would hide other reasons to make
        # it anew while the check is made anew.
        base=lambda wildcards: (
            [] if Path(at(wildcards)[1].prompts).exists() else LAYOUT.base
        ),
    output:
        LAYOUT.batch("{track}", "{batch}").prompts,
    log:
        LAYOUT.log("propose", "{track}", "{batch}"),
    benchmark:
        LAYOUT.benchmark("propose", "{track}", "{batch}")
    wildcard_constraints:
        batch=of_source(Originals, Round),
    conda:
        "../envs/workflow.yaml"
    params:
        decides=decides("propose"),
    message:
        "Propose the prompts of {wildcards.track} {wildcards.batch}"
    shell:
        "python scripts/propose.py {wildcards.track} {wildcards.batch} --log {log}"


rule candidates:
    input:
        drawing_inputs,
        prompt_set=lambda wildcards: LAYOUT.prompt_set(at(wildcards)[0].prompts),
    output:
        prompts=LAYOUT.batch("{track}", "{batch}").prompts,
        writing=LAYOUT.batch("{track}", "{batch}").writing,
    log:
        LAYOUT.log("candidates", "{track}", "{batch}"),
    benchmark:
        LAYOUT.benchmark("candidates", "{track}", "{batch}")
    wildcard_constraints:
        batch=of_source(Draw),
    conda:
        "../envs/booster.yaml"
    threads: CONFIG.booster.threads
    resources:
        mem_mb=4000,
    params:
        decides=decides("candidates"),
    message:
        "Draw the candidates of {wildcards.track} {wildcards.batch}"
    shell:
        "python scripts/candidates.py {wildcards.track} {wildcards.batch} --log {log}"


rule refine:
    input:
        refine_inputs,
        prompt_set=lambda wildcards: LAYOUT.prompt_set(at(wildcards)[0].prompts),
    output:
        prompts=LAYOUT.batch("{track}", "{batch}").prompts,
        writing=LAYOUT.batch("{track}", "{batch}").writing,
    log:
        LAYOUT.log("refine", "{track}", "{batch}"),
    benchmark:
        LAYOUT.benchmark("refine", "{track}", "{batch}")
    wildcard_constraints:
        batch=of_source(Refine),
    conda:
        "../envs/booster.yaml"
    threads: refine_threads
    resources:
        mem_mb=4000,
    params:
        decides=decides("refine"),
    message:
        "Refine {wildcards.track} {wildcards.batch}"
    shell:
        "python scripts/refine.py {wildcards.track} {wildcards.batch} --log {log}"


rule pilot_prompts:
    input:
        lambda wildcards: STUDY.files(STUDY.rounds(wildcards.track)[0]).prompts,
    output:
        LAYOUT.batch("{track}", "{batch}").prompts,
    log:
        LAYOUT.log("pilot_prompts", "{track}", "{batch}"),
    benchmark:
        LAYOUT.benchmark("pilot_prompts", "{track}", "{batch}")
    wildcard_constraints:
        batch=of_source(Pilot),
    conda:
        "../envs/workflow.yaml"
    params:
        decides=decides("pilot_prompts"),
    message:
        "Choose the pilot prompts of {wildcards.track}"
    shell:
        "python scripts/pilot_prompts.py {wildcards.track} --log {log}"
