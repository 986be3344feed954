# The checked configuration, and what rules look up in it.
import os
import shlex
import sys

sys.path.insert(0, workflow.basedir)

from snakemake.common.configfile import load_configfile

from promptavideo import published
from promptavideo.config import check
from promptavideo.errors import InputError
from promptavideo.files import hold
from promptavideo.generators import check_ready
from promptavideo.models import requires, shipped
from promptavideo.operators import check_operator
from promptavideo.plan import Plan
from promptavideo.settings import lay
from promptavideo.vbench.plan import VBenchPlan

# Snakemake has merged these into `config`, but in a way that leaves the keys of an entry whose kind is another one.
FILES = [Path(workflow.basedir, "config.yaml"), *workflow.overwrite_configfiles]
LAYERS = {os.path.relpath(file): load_configfile(file) for file in FILES} | {
    "--config": dict(workflow.config_settings.config)
}
RAW, ORIGINS = lay(LAYERS)

try:
    CONFIG = check(RAW, Path(workflow.basedir), ORIGINS)
    PLAN = Plan(CONFIG, Path(workflow.basedir))
    VBENCH = VBenchPlan(PLAN)
except InputError as error:
    raise WorkflowError(str(error))


# Where the paper's models come from; what it is made of is not asked of a table at another scale.
PUBLISHED = PLAN.as_json(
    published.sources(
        load_configfile(Path(workflow.basedir, "paper.yaml")),
        Path(workflow.basedir, "resources/vbench/checkpoints.yaml"),
    )
    if CONFIG.scale == "paper"
    else None
)


# Scripts run as commands; they find the library beside them, in any environment and on any node.
shell.prefix(
    f"set -euo pipefail; export PYTHONPATH={shlex.quote(str(workflow.basedir))}; "
)


wildcard_constraints:
    generator=PLAN.pattern("generators"),
    model=PLAN.pattern("models"),
    prompt_set=PLAN.pattern("prompt_sets"),
    set=PLAN.pattern("evaluation.sets"),
    refiner=PLAN.pattern("refiners"),
    stage="|".join(CONFIG.stages),
    batch=PLAN.batch_pattern,
    round=r"\d+",
    shard=r"\d+",


def section(path):
    """A part of the configuration as JSON: a rule that names it reruns when, and only when, that part changes."""
    return PLAN.section(path)


def manifest(model):
    return f"resources/models/{model}/manifest.json"


def fetch_inputs(wildcards):
    """The models and the weights of this repository that a model is made from."""
    entry = CONFIG.models[wildcards.model]
    return [manifest(model) for model in requires(entry)] + shipped(entry)


def reward_inputs():
    """The models that rewards are loaded from, and the other files that they read."""
    entries = CONFIG.judges.values()
    models = [manifest(model) for entry in entries for model in entry.models.values()]
    return [
        *dict.fromkeys(models),
        *(file for entry in entries for file in entry.files.values()),
    ]


def prompt_source_inputs(name):
    """A local source is watched; what a pinned revision holds does not change."""
    source = CONFIG.prompt_sources[name]
    return [source.path] if source.kind == "local" else []


def training_settings():
    """The booster's section without what trains nothing, so that other sampling settings do not train anew."""
    return PLAN.as_json(CONFIG.booster.model_dump(mode="json", exclude={"sampling"}))


def booster(stage):
    return f"results/{{generator}}/boosters/{stage}/booster.json"


def cards_up_to(stage):
    """The cards of a booster and of those that it goes on from, whose adapters are merged with its own."""
    stages = CONFIG.stages[: CONFIG.stages.index(stage) + 1]
    return [booster(one) for one in stages]


def source_record(wildcards, batch):
    """The record of the dataset behind a batch's prompts, if they are a slice of one."""
    source = CONFIG.prompt_sets[PLAN.prompt_set(batch)].source
    return [] if source is None else f"resources/prompts/{source}.json"


def cards(arms):
    """The cards of the boosters behind a table's rows."""
    return [f"{arm['booster']}/booster.json" for arm in arms if arm["booster"]]


def refine_inputs(wildcards):
    """What a refiner reads: a booster's card and base, templates and examples, models, files of texts, or nothing."""
    refiner = CONFIG.refiners[wildcards.refiner]
    if refiner.kind == "promptist":
        return [manifest(model) for model in refiner.models]
    if refiner.kind == "booster":
        base = [manifest(CONFIG.booster.base), CONFIG.booster.instruction]
        return [*cards_up_to(refiner.stage), *base]
    return refiner.files if refiner.kind in ("llm", "file") else []


def refine_threads(wildcards):
    """A booster draws on as many cores as it has threads."""
    drawn = PLAN.booster(wildcards.generator, wildcards.refiner)
    return CONFIG.booster.threads if drawn else 1


def refine_options(wildcards):
    """What the refiner needs beside its own entry."""
    refiner = CONFIG.refiners[wildcards.refiner]
    if refiner.kind == "booster":
        return PLAN.options(
            settings=section("booster"),
            base=f"resources/models/{CONFIG.booster.base}",
            booster=f"results/{wildcards.generator}/boosters/{refiner.stage}",
        )
    if refiner.kind == "promptist":
        tokenizer = refiner.tokenizer or refiner.model
        return PLAN.options(
            model=f"resources/models/{refiner.model}",
            tokenizer=f"resources/models/{tokenizer}",
        )
    return ""


def refine_answers(wildcards):
    """What decides the answers that an LLM refiner gets."""
    refiner = CONFIG.refiners[wildcards.refiner]
    return PLAN.answers(refiner.operator) if refiner.kind == "llm" else ""


def refine_operator(wildcards, output):
    """An LLM refiner's operator with its budget; takes `output` for the reason that rules/evolution.smk gives."""
    refiner = CONFIG.refiners[wildcards.refiner]
    if refiner.kind == "llm":
        operator = section(f"operators.{refiner.operator}")
        return PLAN.options(operator=operator, store=CONFIG.store)
    return ""


def evolves(wildcards):
    """The operator that evolves a generator's prompts."""
    return CONFIG.evolution.operator_of(wildcards.generator)


def propose_answers(wildcards):
    """What decides the variants of a round; the originals of round 0 are asked of nobody."""
    return PLAN.answers(evolves(wildcards)) if int(wildcards.round) else ""


def propose_operator(wildcards, output):
    """The operator of a round with its budget; takes `output` for the reason that rules/evolution.smk gives."""
    if int(wildcards.round) == 0:
        return ""
    name = evolves(wildcards)
    return PLAN.options(name=name, operator=section(f"operators.{name}"))


def asked_operators(jobs):
    """The operators that these jobs ask."""
    for job in jobs:
        if job.rule.name == "propose" and int(job.wildcards.round):
            yield evolves(job.wildcards)
        elif job.rule.name == "refine":
            refiner = CONFIG.refiners[job.wildcards.refiner]
            if refiner.kind == "llm":
                yield refiner.operator


def filming_generators(jobs):
    """The generators that these jobs film with."""
    for job in jobs:
        if job.rule.name == "film":
            yield job.wildcards.generator


def compared_generators(wildcards):
    """The generators of a table: all, or the one that its folder names."""
    one = "/" in wildcards.scope
    return [wildcards.scope.split("/")[0]] if one else list(CONFIG.generators)


def arms(wildcards):
    """The rows of a table: every set and refiner of one generator, or of all."""
    return PLAN.arms(compared_generators(wildcards))


def run_record(generator, batch):
    """What is recorded of a run beside a batch's scores: its scale and seed, and what wrote the texts."""
    texts = provenance.texts(CONFIG, generator, batch)
    return PLAN.as_json(
        {"scale": CONFIG.scale, "run_seed": CONFIG.seed, "texts": texts}
    )


def prompts_entry(batch):
    """The prompt set that a batch films, as JSON."""
    return section(f"prompt_sets.{PLAN.prompt_set(batch)}")


def written(wildcards):
    """The record of what wrote a batch's texts; evolution's operators keep a ledger, a pilot films what users wrote."""
    unrecorded = wildcards.batch.startswith("evolution/") or wildcards.batch == "pilot"
    return [] if unrecorded else "results/{generator}/{batch}/prompts.timing.json"


def manifests(wildcards, batch):
    """The manifests of all shards of a batch."""
    return expand(
        "results/{generator}/{batch}/videos/{shard}.jsonl",
        generator=wildcards.generator,
        batch=batch,
        shard=PLAN.shards(wildcards.generator, batch),
    )


def scored_together(wildcards):
    """The shards that one scoring job scores."""
    return PLAN.scored_together(wildcards.generator, wildcards.batch)[wildcards.shard]


def check_scale():
    """Refuse to book a cluster for the laptop's scale, unless a file says that it shall be so.

    A profile's `configfile: paper.yaml` does not count any more once `--configfile` names another file.
    """
    if (
        workflow.non_local_exec
        and CONFIG.scale == "laptop"
        and ORIGINS["scale"] == next(iter(LAYERS))
    ):
        raise InputError(
            "this run would put the laptop's scale on a cluster, since no file given says `scale: paper`: --configfile "
            "takes the place of the profile's own, so name both (--configfile paper.yaml mine.yaml); `scale: laptop` in "
            "a file of yours runs it nevertheless"
        )


# Snakemake's own lock outlives a killed run and then blocks the next (the default profile turns it off); this one ends
# with its process.
onstart:
    global LOCK
    try:
        check_scale()
        for operator in sorted(set(asked_operators(workflow.dag.needrun_jobs()))):
            check_operator(CONFIG.operators[operator], operator)
        for name in sorted(set(filming_generators(workflow.dag.needrun_jobs()))):
            check_ready(name, CONFIG.generators[name])
        if any(
            job.rule.name == "vbench_dimension"
            for job in workflow.dag.needrun_jobs()
        ):
            VBENCH.check_python()
        LOCK = hold(Path(".snakemake/promptavideo.lock"))
    except InputError as error:
        raise WorkflowError(str(error))
    estimate_run()
