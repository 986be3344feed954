# The one pipeline that evolution, preference and evaluation share: film a prompts table, judge the videos, gather.


rule film:
    input:
        prompts=LAYOUT.batch("{track}", "{batch}").prompts,
        models=lambda wildcards: STUDY.manifests_of([generator_of(wildcards)]),
    output:
        manifest=LAYOUT.batch("{track}", "{batch}").manifest("{shard}"),
        filming=LAYOUT.batch("{track}", "{batch}").filming("{shard}"),
    log:
        LAYOUT.log("film", "{track}", "{batch}", "{shard}"),
    benchmark:
        LAYOUT.benchmark("film", "{track}", "{batch}", "{shard}")
    conda:
        "../envs/generation.yaml"
    threads: lambda wildcards: generator_of(wildcards).threads
    resources:
        mem_mb=3000,
    params:
        decides=decides("film"),
    message:
        "Film {wildcards.track} {wildcards.batch}, shard {wildcards.shard}"
    shell:
        "python scripts/film.py {wildcards.track} {wildcards.batch} {wildcards.shard} --log {log}"


rule score:
    input:
        prompts=LAYOUT.batch("{track}", "{batch}").prompts,
        videos=judged_videos,
        models=lambda wildcards: STUDY.manifests_of(
            STUDY.judging(wildcards.judges, wildcards.track).values()
        ),
        files=lambda wildcards: [
            file
            for entry in STUDY.judging(wildcards.judges, wildcards.track).values()
            for file in entry.files
        ],
    output:
        metrics=LAYOUT.batch("{track}", "{batch}").judged("{judges}", "{shard}"),
        judging=LAYOUT.batch("{track}", "{batch}").judging("{judges}", "{shard}"),
    log:
        LAYOUT.log("score", "{track}", "{batch}", "{judges}", "{shard}"),
    benchmark:
        LAYOUT.benchmark("score", "{track}", "{batch}", "{judges}", "{shard}")
    conda:
        "../envs/judges.yaml"
    threads: lambda wildcards: STUDY.threads(wildcards.judges, wildcards.track)
    resources:
        mem_mb=2000,
    params:
        decides=decides("score"),
    message:
        "Judge {wildcards.track} {wildcards.batch} by {wildcards.judges}, shard {wildcards.shard}"
    shell:
        "python scripts/score.py {wildcards.track} {wildcards.batch} {wildcards.judges} {wildcards.shard} --log {log}"


rule gather:
    input:
        prompts=LAYOUT.batch("{track}", "{batch}").prompts,
        results=lambda wildcards: group_of(STUDY, wildcards.judges).results(
            at(wildcards)[0]
        ),
        records=lambda wildcards: group_of(STUDY, wildcards.judges).records(
            at(wildcards)[0]
        ),
        manifests=lambda wildcards: STUDY.manifests(at(wildcards)[0]),
        writing=lambda wildcards: STUDY.writing(at(wildcards)[0]),
        source=lambda wildcards: map(ancient, STUDY.source_record(at(wildcards)[0])),
        models=lambda wildcards: STUDY.manifests_of(
            [generator_of(wildcards), *refiner_of(wildcards)]
        ),
    output:
        scores=LAYOUT.batch("{track}", "{batch}").scores("{judges}"),
        origin=LAYOUT.batch("{track}", "{batch}").origin("{judges}"),
    log:
        LAYOUT.log("gather", "{track}", "{batch}", "{judges}"),
    benchmark:
        LAYOUT.benchmark("gather", "{track}", "{batch}", "{judges}")
    wildcard_constraints:
        judges=pattern([*STUDY.groups, VBENCH_GROUP]),
    conda:
        "../envs/workflow.yaml"
    params:
        decides=decides("gather"),
    message:
        "Gather what {wildcards.judges} found of {wildcards.track} {wildcards.batch}"
    shell:
        "python scripts/gather.py {wildcards.track} {wildcards.batch} {wildcards.judges} --log {log}"
