# The checked configuration, and what rules look up in it.
import os
import shlex
import sys

sys.path.insert(0, workflow.basedir)

from snakemake.common.configfile import load_configfile

from promptavideo import runfile
from promptavideo.batches import Draw, Originals, Pilot, Refine, Round
from promptavideo.comparisons import comparisons, shown
from promptavideo.config import check, resolve
from promptavideo.decides import Decides
from promptavideo.errors import InputError
from promptavideo.files import hold
from promptavideo.judging import VBENCH as VBENCH_GROUP, group_of
from promptavideo.layout import GALLERY, REWARDS
from promptavideo.rating.plan import check_begun
from promptavideo.settings import lay
from promptavideo.study import Study, pattern
from promptavideo.targets import explain, unknown_target
from promptavideo.vbench.checkpoints import describe
from promptavideo.vbench.dimensions import DIMENSIONS

# Snakemake has merged these into `config`, but in a way that leaves the keys of an entry whose kind is another one.
ROOT = Path(workflow.basedir)
FILES = [ROOT / "config.yaml", *workflow.overwrite_configfiles]
LAYERS = {os.path.relpath(file): load_configfile(file) for file in FILES} | {
    "--config": dict(workflow.config_settings.config)
}
RAW, ORIGINS = lay(LAYERS)

try:
    CONFIG = check(RAW, ROOT, ORIGINS)
    STUDY = Study(CONFIG, ROOT)
    VBENCH = STUDY.vbench
    TABLES = comparisons(STUDY)
    SHOWN = shown(STUDY)
    DECIDES = Decides(STUDY)
    RUNFILE = runfile.write(resolve(RAW, ROOT))
except InputError as error:
    raise WorkflowError(str(error))
LAYOUT = STUDY.layout

# Scripts run as commands; they find the library beside them, what else planning imports, and the run's configuration.
shell.prefix(
    f"set -euo pipefail; export PYTHONPATH={shlex.quote(str(ROOT))}${{{{PYTHONPATH:+:$PYTHONPATH}}}} "
    f"{runfile.VARIABLE}={RUNFILE}; "
)


wildcard_constraints:
    track=pattern(STUDY.tracks),
    model=pattern(CONFIG.models),
    prompt_set=pattern(CONFIG.prompt_sets),
    booster=pattern(CONFIG.boosters),
    home=pattern(STUDY.homes),
    batch=pattern(
        batch.name for batch in STUDY.every(Originals | Round | Draw | Refine | Pilot)
    ),
    judges=pattern(STUDY.groups),
    scope="|".join(
        ["tables", *(f"{re.escape(track)}/tables" for track in STUDY.tracks)]
    ),
    shard=r"\d+-of-\d+",


# The rules that may ask an operator.
ASKING = ("propose", "refine", "negatives")


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


def check_ready(jobs):
    """Check that what jobs ask and film with can work from here, before the first of them."""
    asked, filming = set(), set()
    for job in jobs:
        if job.rule.name in ASKING:
            asked |= set(asked_by(job.wildcards))
        if job.rule.name == "film":
            filming.add(at(job.wildcards)[0].generator)
        if job.rule.name == "vbench_dimension":
            VBENCH.check_python()
        if job.rule.name == "study":
            check_begun(STUDY)
    for operator in sorted(asked):
        CONFIG.operators[operator].ready(f"operators.{operator}")
    for generator in sorted(filming):
        CONFIG.generators[generator].ready(f"generators.{generator}")


def asked_by(wildcards):
    """The operator that a job asks, if it asks one."""
    if "batch" not in wildcards.keys():
        return [CONFIG.negatives.operator]
    source = at(wildcards)[0].source
    if isinstance(source, Round):
        return [CONFIG.evolution.operator_of(wildcards.track)]
    operator = (
        CONFIG.refiners[source.refiner].asks if isinstance(source, Refine) else None
    )
    return [operator] if operator else []


# Snakemake's own lock outlives a killed run and then blocks the next (the default profile turns it off); this one ends
# with its process.
onstart:
    global LOCK
    try:
        check_scale()
        check_ready(list(workflow.dag.needrun_jobs()))
        LOCK = hold(Path(".snakemake/promptavideo.lock"))
    except InputError as error:
        raise WorkflowError(str(error))
    runfile.keep(RUNFILE, runfile.STARTED)
    if changed := runfile.announce(RUNFILE):
        print(changed, file=sys.stderr, flush=True)
    estimate_run()


onsuccess:
    runfile.keep(RUNFILE, runfile.FINISHED)
