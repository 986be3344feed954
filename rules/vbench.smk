# VBench: a batch's videos under the names that it wants, one job a dimension and shard.


rule vbench_videos:
    input:
        prompts=LAYOUT.batch("{track}", "{batch}").prompts,
        manifests=lambda wildcards: STUDY.manifests(at(wildcards)[0]),
        rows=lambda wildcards: VBENCH.list_of(VBENCH.set_of(at(wildcards)[0])),
    output:
        LAYOUT.batch("{track}", "{batch}").listing,
    log:
        LAYOUT.log("vbench_videos", "{track}", "{batch}"),
    benchmark:
        LAYOUT.benchmark("vbench_videos", "{track}", "{batch}")
    conda:
        "../envs/judges.yaml"
    params:
        decides=decides("vbench_videos"),
    message:
        "Show VBench {wildcards.track} {wildcards.batch}"
    shell:
        "python scripts/vbench_videos.py {wildcards.track} {wildcards.batch} --log {log}"


rule vbench_dimension:
    input:
        listing=LAYOUT.batch("{track}", "{batch}").listing,
        checkpoints=lambda wildcards: VBENCH.records(wildcards.dimension),
    output:
        LAYOUT.batch("{track}", "{batch}").dimension("{dimension}", "{shard}"),
    log:
        LAYOUT.log("vbench_dimension", "{track}", "{batch}", "{dimension}", "{shard}"),
    benchmark:
        LAYOUT.benchmark(
            "vbench_dimension", "{track}", "{batch}", "{dimension}", "{shard}"
        )
    wildcard_constraints:
        dimension="|".join(DIMENSIONS),
    conda:
        "../envs/vbench.yaml"
    resources:
        mem_mb=4000,
    params:
        decides=decides("vbench_dimension"),
        # Derived from the output, since Snakemake takes that for no reason to run again.
        python=lambda wildcards, output: CONFIG.vbench.python,
        device=lambda wildcards, output: CONFIG.vbench.device,
        checkpoints=lambda wildcards, output: VBENCH.checkpoints_of(wildcards.dimension),
    message:
        "Judge {wildcards.dimension} of {wildcards.track} {wildcards.batch}, shard {wildcards.shard}"
    shell:
        "{params.python:q} scripts/vbench_dimension.py {wildcards.track} {wildcards.batch} {wildcards.dimension} "
        "{wildcards.shard} --device {params.device} --checkpoints {params.checkpoints} --log {log}"
