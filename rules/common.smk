# The checked configuration, and what rules look up in it.
import sys

sys.path.insert(0, workflow.basedir)

from promptavideo.config import check
from promptavideo.errors import InputError
from promptavideo.models import requires
from promptavideo.plan import Plan

try:
    CONFIG = check(config, Path(workflow.basedir))
except InputError as error:
    raise WorkflowError(str(error))

PLAN = Plan(CONFIG, Path(workflow.basedir))
STORE = CONFIG.store


# Scripts run as commands; they find the library beside them, in any environment and on any node.
shell.prefix(f"set -euo pipefail; export PYTHONPATH={workflow.basedir}; ")


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
