# The user study: a page on which people compare videos, and the votes that come back. Nothing else waits for these, and
# no vote is ever made here.


# A study that has begun keeps its plan: nothing replaces it, and a job that fails gives back what was there.
rule study:
    input:
        lambda wildcards: STUDY.study_videos(),
    output:
        plan=update(LAYOUT.study_plan),
        page=update(LAYOUT.study_page),
    log:
        LAYOUT.log("study"),
    benchmark:
        LAYOUT.benchmark("study")
    conda:
        "../envs/report.yaml"
    params:
        decides=decides("study"),
    message:
        "Plan the user study in {output.page}"
    shell:
        "python scripts/study.py --log {log}"


# The files are those that are there when the run is planned. What a server has written and not yet put into its
# database itself shows in the parameter.
rule user_study_votes:
    input:
        plan=LAYOUT.study_plan,
        votes=lambda wildcards: STUDY.votes,
    output:
        votes=LAYOUT.study_votes,
        record=LAYOUT.study_record,
    log:
        LAYOUT.log("user_study_votes"),
    benchmark:
        LAYOUT.benchmark("user_study_votes")
    conda:
        "../envs/report.yaml"
    params:
        decides=decides("user_study_votes"),
    message:
        "Read the votes of {input.votes}"
    shell:
        "python scripts/user_study_votes.py --log {log}"
