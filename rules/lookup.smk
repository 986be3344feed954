# What rules ask about a job: its batch, booster, inputs and threads.


def decides(rule):
    """A rule's one parameter: a digest of what decides its outputs; another one reruns the rule, and nothing else does."""
    return lambda wildcards: DECIDES.digest(rule, **wildcards)


def of_source(*kinds):
    """A pattern of the batches whose texts come from some kind of source."""
    return (
        pattern(batch.name for kind in kinds for batch in STUDY.every(kind)) or "none"
    )


def at(wildcards):
    """The batch of a job, and its files."""
    batch = STUDY.batch(wildcards.track, wildcards.batch)
    return batch, STUDY.files(batch)


def generator_of(wildcards):
    """The entry of the generator that films a job's batch."""
    return CONFIG.generators[at(wildcards)[0].generator]


def refiner_of(wildcards):
    """The entry of the refiner that writes a job's batch, if one does."""
    source = at(wildcards)[0].source
    return [CONFIG.refiners[source.refiner]] if isinstance(source, Refine) else []


def booster_of(wildcards):
    """The booster that a job trains."""
    return STUDY.owned(wildcards.home, wildcards.booster)


def needed_by(booster):
    """What a booster is loaded from, and what bounds its texts."""
    return [
        *STUDY.cards([booster]),
        STUDY.base,
        instruction_of(booster),
        *STUDY.readers(booster.tracks),
    ]


def instruction_of(booster):
    """The instruction with which a booster is trained and asked."""
    return STUDY.settings_of(booster).instruction


def drawing_inputs(wildcards):
    """What draws the candidates of a job's batch, and what writes the texts that they are for."""
    learner = at(wildcards)[0].source.learner
    boosters = [learner.drawing, *([learner.texts] if learner.texts else [])]
    return list(
        dict.fromkeys(file for booster in boosters for file in needed_by(booster))
    )


def refine_inputs(wildcards):
    """What a refiner reads: files, models, the booster behind it, and the texts that it goes on from."""
    refiner = CONFIG.refiners[at(wildcards)[0].source.refiner]
    below = STUDY.below(at(wildcards)[0])
    booster = STUDY.writer(wildcards.track, at(wildcards)[0].source.refiner)
    published = STUDY.instruction(at(wildcards)[0].source.refiner)
    read = STUDY.read_by(at(wildcards)[0].source.refiner, wildcards.track)
    read += STUDY.manifests_of([refiner])
    read += [published] if published else []
    read += [STUDY.files(below).prompts] if below else []
    if refiner.over_base:
        read += [STUDY.base, CONFIG.booster.instruction]
        read += STUDY.readers([wildcards.track])
    return read + (needed_by(booster) if booster else [])


def refine_threads(wildcards):
    """A network that draws takes as many cores as it has threads."""
    refiner = at(wildcards)[0].source.refiner
    if STUDY.writer(wildcards.track, refiner):
        return CONFIG.booster.threads
    return getattr(CONFIG.refiners[refiner], "threads", 1)


def judged_videos(wildcards):
    """The manifests of the videos that a scoring job looks at; none where judges look at texts alone."""
    batch, files = at(wildcards)
    if not STUDY.looks_at_videos(wildcards.judges, wildcards.track):
        return []
    return map(files.manifest, STUDY.scored_together(batch, wildcards.shard))


def pair_inputs(wildcards):
    """The scores of all rounds, and of further judges that a threshold names."""
    return [
        STUDY.files(batch).scores(judges)
        for batch in STUDY.rounds(wildcards.track)
        for judges in batch.judges
    ]


def figures_of(track):
    """The figures of one track."""
    return [f"results/{track}/figures/{name}.png" for name in STUDY.figures(track)]


def figure_of(table):
    """The figure of a table of all tracks, if it has one."""
    return [f"results/figures/{table}.png"] if TABLES[table].FIGURE else []


def played(track):
    """The evaluations of a track whose videos the report plays."""
    return STUDY.played(track).values()


def scores_of(batches):
    """The rewards of some batches, each once."""
    return list(dict.fromkeys(STUDY.files(batch).scores(REWARDS) for batch in batches))


def videos_of(batches):
    """The manifests of some batches' videos."""
    return [manifest for batch in batches for manifest in STUDY.manifests(batch)]


def refuse(target):
    """End the run with what there is instead of a target; Snakemake would put its own frames around an error."""
    rules = [rule.name for rule in workflow.rules if not rule.has_wildcards()]
    try:
        explain(target, rules, STUDY)
    except InputError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1)
