# The checked configuration, and what rules look up in it.
import shlex
import sys

sys.path.insert(0, workflow.basedir)

from promptavideo.config import check
from promptavideo.errors import InputError
from promptavideo.files import hold
from promptavideo.models import requires, shipped
from promptavideo.plan import Plan

try:
    CONFIG = check(config, Path(workflow.basedir))
except InputError as error:
    raise WorkflowError(str(error))

PLAN = Plan(CONFIG, Path(workflow.basedir))


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


def booster(stage):
    return f"results/{{generator}}/boosters/{stage}/booster.json"


def refine_inputs(wildcards):
    """A booster's card and base, an LLM refiner's template, or nothing for the original prompts."""
    refiner = CONFIG.refiners[wildcards.refiner]
    if refiner.kind == "booster":
        card = f"results/{wildcards.generator}/boosters/{refiner.stage}/booster.json"
        return [card, manifest(CONFIG.booster.base), CONFIG.booster.instruction]
    return [refiner.template] if refiner.kind == "llm" else []


def refine_options(wildcards):
    """What the refiner needs beside its own entry."""
    refiner = CONFIG.refiners[wildcards.refiner]
    if refiner.kind == "booster":
        return PLAN.options(
            settings=section("booster"),
            base=f"resources/models/{CONFIG.booster.base}",
            booster=f"results/{wildcards.generator}/boosters/{refiner.stage}",
        )
    if refiner.kind == "llm":
        return PLAN.options(operator=section(f"operators.{refiner.operator}"))
    return ""


def arms(wildcards):
    """The rows of a table: every set and refiner of one generator, or of all."""
    generators = (
        [wildcards.scope.split("/")[0]]
        if "/" in wildcards.scope
        else list(CONFIG.generators)
    )
    return PLAN.arms(generators)


# Snakemake's own lock outlives a killed run and then blocks the next (the default profile turns it off); this one ends
# with its process.
onstart:
    global LOCK
    try:
        LOCK = hold(Path(".snakemake/promptavideo.lock"))
    except InputError as error:
        raise WorkflowError(str(error))
