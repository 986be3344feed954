# What a run should take, said before its first job, and the record by which jobs know the time left for all of them.
from promptavideo import runs
from promptavideo.estimate import Estimate, announce, probe_here
from promptavideo.probe import Speed

RUN = Path(".snakemake/promptavideo/run.json")

# Rules whose time the estimate is about; a run without them is over in a moment.
TIMED = ("film", "score", "candidates", "refine", "train")

UNKNOWN = (
    "fetch",
    "prompt_source",
    "pair_source",
    "instruction",
    "vbench_checkpoint",
    "train_miniature",
    "distil_miniature",
    "distil_miniature_crew",
    "train_witness",
    "miniature_card",
)


def part(job):
    """The track that a job is for, if it is for one, and the part of the method."""
    names = job.wildcards_dict
    if job.rule.name == "train":
        return names["home"], names["booster"]
    if "track" not in names:
        return "", "inputs, tables and report"
    if "batch" in names:
        return names["track"], at(job.wildcards)[0].part
    return names["track"], (
        "evolution" if job.rule.name in ("pairs", "negatives") else "figures"
    )


def foreseen(job, estimate):
    """What a job is fast or slow with, and its seconds: None where a network, an endpoint or a checkpoint decides."""
    kind, names = job.rule.name, job.wildcards_dict
    batch = at(job.wildcards)[0] if "batch" in names else None
    if kind == "film":
        seconds = estimate.videos(batch, 1) * estimate.video(batch.track)
        return (
            f"filming {batch.generator}",
            estimate.loading(batch.track, None) + seconds,
        )
    if kind == "score":
        judges, together = names["judges"], 1
        if STUDY.looks_at_videos(judges, names["track"]):
            together = len(STUDY.scored_together(batch, names["shard"]))
        videos = estimate.videos(batch, together, judges)
        seconds = videos * estimate.score(batch.track, judges)
        return "scoring", estimate.loading(batch.track, judges) + seconds
    if kind == "candidates" or (
        kind == "refine" and CONFIG.refiners[batch.source.refiner].network
    ):
        return "drawing", estimate.load + estimate.texts(batch) * estimate.text
    if kind == "train":
        booster = booster_of(job.wildcards)
        return "training", estimate.load + estimate.training(booster)
    asked = asked_by(job.wildcards) if kind in ASKING else []
    if kind in UNKNOWN or any(CONFIG.operators[name].kept for name in asked):
        return kind, None
    if kind == "vbench_dimension":
        if VBENCH.checkpoints_of(names["dimension"]):
            return kind, None
        return "judging", estimate.judging(batch, names["dimension"])
    return "light", estimate.start if job.log else 0.0


def planned_run(estimate):
    """All jobs to do, each with what it waits for."""
    jobs = list(workflow.dag.needrun_jobs())
    places = {job: place for place, job in enumerate(jobs)}
    described = []
    for job in jobs:
        names = job.wildcards_dict
        kind, seconds = foreseen(job, estimate)
        where = [
            names[key]
            for key in ("track", "home", "batch", "booster", "judges")
            if key in names
        ]
        described.append(
            runs.Job(
                name=str(job.log[0]) if job.log else "",
                stage=" ".join([job.rule.name, *where]),
                part=part(job),
                kind=kind,
                seconds=seconds,
                cores=job.threads,
                after=tuple(
                    places[needed]
                    for needed in workflow.dag.dependencies[job]
                    if needed in places
                ),
            )
        )
    return runs.Run(workflow.cores, tuple(described))


def estimate_run():
    """Say what the run should take, and write its record. On a cluster the queue decides, and nothing is said."""
    os.environ.pop(runs.VARIABLE, None)
    rules = {job.rule.name for job in workflow.dag.needrun_jobs()}
    if not workflow.local_exec or workflow.touch or not rules & set(TIMED):
        return
    try:
        root = Path(workflow.basedir)
        filming = {
            at(job.wildcards)[0].generator
            for job in workflow.dag.needrun_jobs()
            if job.rule.name == "film"
        }
        measured = probe_here(CONFIG, root, sorted(filming))
        speed = Speed.of(measured, CONFIG.planning.reference)
        run = planned_run(Estimate(STUDY, Path(), speed))
        runs.begin(run, RUN)
        print(announce(run, CONFIG, speed, measured), file=sys.stderr, flush=True)
    except Exception as error:  # an estimate is never worth a run
        print(f"There is no estimate of this run's time: {error}", file=sys.stderr)
        return
    os.environ[runs.VARIABLE] = str(RUN.resolve())
