# The page on which the evaluation's videos play beside each other.


rule gallery:
    input:
        scores=[
            STUDY.files(batch).scores(judges)
            for batch in STUDY.galleried
            for judges in batch.judges
        ],
        # The videos themselves are in the store; one that is gone is filmed again for its manifest.
        manifests=[
            manifest
            for batch in STUDY.galleried
            for manifest in STUDY.manifests(batch)
        ],
    output:
        GALLERY,
    log:
        LAYOUT.log("gallery"),
    benchmark:
        LAYOUT.benchmark("gallery")
    conda:
        "../envs/report.yaml"
    threads: CONFIG.gallery.threads
    params:
        decides=decides("gallery"),
    message:
        "Write {output}"
    shell:
        "python scripts/gallery.py --log {log}"


# For the documents, from the pages of a finished run; nothing else waits for them.
rule screenshots:
    input:
        gallery=GALLERY,
        study=LAYOUT.study_page,
    output:
        "docs/images/gallery.png",
        "docs/images/study.png",
    log:
        "logs/screenshots.log",
    benchmark:
        "benchmarks/screenshots.tsv"
    conda:
        "../envs/browser.yaml"
    params:
        folder=subpath(output[0], parent=True),
    message:
        "Take pictures of {input}"
    shell:
        "python scripts/screenshots.py {input.gallery} {input.study} --folder {params.folder} --log {log}"


rule demo_picture:
    input:
        cards=STUDY.cards(STUDY.boosters(STUDY.tracks[0])),
        models=STUDY.manifests_of(
            [
                CONFIG.generators[STUDY.tracks[0]],
                *CONFIG.judges.values(),
            ]
        ),
        base=STUDY.base,
        readers=STUDY.readers(STUDY.tracks[:1]),
    output:
        "docs/images/demo.png",
    log:
        "logs/demo_picture.log",
    benchmark:
        "benchmarks/demo_picture.tsv"
    conda:
        "../envs/demo.yaml"
    params:
        track=STUDY.tracks[0],
    message:
        "Take a picture of the demo"
    shell:
        "python scripts/demo_picture.py {params.track} --picture {output} --log {log}"
