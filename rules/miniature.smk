# The miniature's teacher from nothing, its student, and the witness, for those who doubt the shipped weights. All write
# to resources/retrained, never over what the repository ships.


rule train_miniature:
    input:
        LAYOUT.manifest("minilm-l6") if "minilm-l6" in CONFIG.models else [],
    output:
        directory("resources/retrained/miniature-teacher"),
    log:
        "logs/train_miniature.log",
    benchmark:
        "benchmarks/train_miniature.tsv"
    conda:
        "../envs/generation.yaml"
    threads: 2
    resources:
        mem_mb=8000,
    params:
        checkpoints=f"{CONFIG.store}/train_miniature",
        text_encoder=(
            subpath(input[0], parent=True) if "minilm-l6" in CONFIG.models else ""
        ),
    message:
        "Train the miniature's teacher (hours on two cores); a killed run resumes"
    shell:
        "python scripts/train_miniature.py {params.checkpoints:q} --text-encoder {params.text_encoder} "
        "--threads {threads} --export {output} --log {log}"


# The students of the teacher: each by its folder, with the dialect whose words it answers to.
for student, dialect in {"miniature": "plain", "miniature-crew": "crew"}.items():

    rule:
        name:
            f"distil_{student}".replace("-", "_")
        input:
            encoder=(
                LAYOUT.manifest("minilm-l6") if "minilm-l6" in CONFIG.models else []
            ),
            teacher="resources/miniature-teacher/transformer/diffusion_pytorch_model.safetensors",
        output:
            directory(f"resources/retrained/{student}"),
        log:
            f"logs/distil_{student}.log",
        benchmark:
            f"benchmarks/distil_{student}.tsv"
        conda:
            "../envs/generation.yaml"
        threads: 2
        resources:
            mem_mb=8000,
        params:
            checkpoints=f"{CONFIG.store}/distil_{student}",
            dialect=dialect,
            teacher=subpath(input.teacher, ancestor=2),
            text_encoder=(
                subpath(input.encoder, parent=True)
                if "minilm-l6" in CONFIG.models
                else ""
            ),
        message:
            "Distil a miniature generator (40 minutes on two cores); a killed run resumes"
        shell:
            "python scripts/distil_miniature.py {params.checkpoints:q} --teacher {params.teacher} "
            "--text-encoder {params.text_encoder} --dialect {params.dialect} --threads {threads} --export {output} "
            "--log {log}"


rule train_miniature_images:
    input:
        encoder=LAYOUT.manifest("minilm-l6") if "minilm-l6" in CONFIG.models else [],
        vae="resources/miniature-teacher/vae/diffusion_pytorch_model.safetensors",
    output:
        directory("resources/retrained/miniature-images"),
    log:
        "logs/train_miniature_images.log",
    benchmark:
        "benchmarks/train_miniature_images.tsv"
    conda:
        "../envs/generation.yaml"
    threads: 2
    resources:
        mem_mb=8000,
    params:
        checkpoints=f"{CONFIG.store}/train_miniature_images",
        films=subpath(input.vae, ancestor=2),
        text_encoder=(
            subpath(input.encoder, parent=True) if "minilm-l6" in CONFIG.models else ""
        ),
    message:
        "Train the miniature of images (20 minutes on two cores); a killed run resumes"
    shell:
        "python scripts/train_miniature_images.py {params.checkpoints:q} --films {params.films} "
        "--text-encoder {params.text_encoder} --threads {threads} --export {output} --log {log}"


rule train_witness:
    output:
        directory("resources/retrained/witness"),
    log:
        "logs/train_witness.log",
    benchmark:
        "benchmarks/train_witness.tsv"
    conda:
        "../envs/generation.yaml"
    resources:
        mem_mb=4000,
    params:
        checkpoints=f"{CONFIG.store}/train_witness",
    message:
        "Train the witness, the miniature's held-out judge (minutes); a killed run resumes"
    shell:
        "python scripts/train_witness.py {params.checkpoints:q} --threads {threads} --export {output} --log {log}"


rule miniature_card:
    input:
        lambda wildcards: STUDY.manifests_of([CONFIG.generators[wildcards.generator]]),
    output:
        card="results/{generator}/card/card.md",
        sheet="results/{generator}/card/contact_sheet.png",
    log:
        LAYOUT.log("miniature_card", "{generator}"),
    benchmark:
        LAYOUT.benchmark("miniature_card", "{generator}")
    wildcard_constraints:
        generator=pattern(CONFIG.generators),
    conda:
        "../envs/generation.yaml"
    resources:
        mem_mb=3000,
    params:
        decides=decides("miniature_card"),
    message:
        "Measure how well {wildcards.generator} follows its prompts"
    shell:
        "python scripts/miniature_card.py {wildcards.generator} --log {log}"
