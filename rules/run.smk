# What a run should take, said before its first job, and the record by which jobs know the time left for all of them.
from promptavideo import runs
from promptavideo.estimate import Estimate, announce, probe_here, speed_of

RUN = Path(".snakemake/promptavideo/run.json")

# Rules whose time the estimate is about; a run without them is over in a moment.
TIMED = ("film", "score", "candidates", "refine", "sft", "dpo")

UNKNOWN = (
    "fetch",
    "prompt_source",
    "vbench_checkpoint",
    "train_miniature",
    "distil_miniature",
    "train_witness",
    "miniature_card",
)

# Rules whose part of the method their batch or round does not tell.
PARTS = {
    "propose": "evolution",
    "pairs": "evolution",
    "sft": "sft",
    "refine": "evaluation",
    "vbench_videos": "evaluation",
    "vbench_dimension": "evaluation",
    "vbench_gather": "evaluation",
    "figures": "figures",
}


def part(job):
    """The generator that a job is for, if it is for one, and the part of the method."""
    names = job.wildcards_dict
    if "generator" not in names:
        return "", "inputs, tables and report"
    batch = names.get("batch", f"dpo-{names.get('round')}")
    return names["generator"], PARTS.get(job.rule.name, batch.split("/")[0])


def drawn(job):
    """The batch for which a booster draws texts, if one does."""
    names = job.wildcards_dict
    if job.rule.name == "candidates":
        return f"dpo-{names['round']}"
    if job.rule.name == "refine" and PLAN.booster(names["generator"], names["refiner"]):
        return f"evaluation/{names['set']}/{names['refiner']}"
    return None


def foreseen(job, estimate):
    """What a job is fast or slow with, and its seconds: None where a network, an endpoint or a checkpoint decides."""
    kind, names = job.rule.name, job.wildcards_dict
    if kind in ("film", "score"):
        generator, batch = names["generator"], names["batch"]
        together = (
            [names["shard"]] if kind == "film" else scored_together(job.wildcards)
        )
        made = "rewards" if kind == "score" else "videos"
        videos = sum(
            estimate.videos(generator, batch, shard, made) for shard in together
        )
        loading = estimate.loading(generator, made)
        if kind == "score":
            return "scoring", loading + videos * estimate.score(generator)
        return f"filming {generator}", loading + videos * estimate.video(generator)
    if batch := drawn(job):
        return "drawing", estimate.load + estimate.texts(batch) * estimate.text
    if kind in ("sft", "dpo"):
        stage = "sft" if kind == "sft" else f"dpo-{names['round']}"
        return "training", estimate.load + estimate.training(stage)
    asked = [CONFIG.operators[name].kind for name in asked_operators([job])]
    if kind in UNKNOWN or "chat" in asked:
        return kind, None
    if kind == "vbench_dimension":
        if VBENCH.checkpoints_of(names["dimension"]):
            return kind, None
        where = names["generator"], names["set"], names["dimension"]
        return "judging", estimate.judging(*where)
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
            for key in ("generator", "batch", "round", "set", "refiner")
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
        generators = sorted(set(filming_generators(workflow.dag.needrun_jobs())))
        measured = probe_here(CONFIG, root, generators)
        speed = speed_of(CONFIG, measured)
        run = planned_run(Estimate(CONFIG, Path(), speed))
        runs.begin(run, RUN)
        print(announce(run, CONFIG, speed, measured), file=sys.stderr, flush=True)
    except Exception as error:  # an estimate is never worth a run
        print(f"There is no estimate of this run's time: {error}", file=sys.stderr)
        return
    os.environ[runs.VARIABLE] = str(RUN.resolve())
