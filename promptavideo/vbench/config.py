"""The configuration of VBench: which sets it judges for what, and how it is run."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from promptavideo.settings import File, Planning, Section
from promptavideo.vbench.dimensions import DIMENSIONS
from promptavideo.vbench.listing import Mode

ABLATION = ("aesthetic_quality", "imaging_quality")
"""The dimensions that the paper's ablations show."""


class VBenchSet(Section):
    """How VBench judges an evaluation set."""

    mode: Mode = "custom"
    """`standard`: the set holds prompts of VBench's own list, each judged for what that list says; `custom`: any
    prompts, all judged for every dimension."""
    dimensions: list[str] | Literal["all"] = "all"
    """Names of VBench's dimensions; `all` that the mode allows."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        if not self.names:
            raise ValueError("dimensions: name one at least, or leave `vbench` out")
        for name in self.names:
            if name not in DIMENSIONS:
                raise ValueError(f"dimensions: there is no {name!r}; known are {', '.join(DIMENSIONS)}")
            if self.mode == "custom" and DIMENSIONS[name].described:
                raise ValueError(
                    f"dimensions: {name} needs what VBench says of its own prompts, so it wants `mode: standard`"
                )
        if len(set(self.names)) < len(self.names):
            raise ValueError("dimensions: a name stands there twice")
        return self

    @property
    def names(self) -> list[str]:
        """The dimensions, in the order of the table."""
        if self.dimensions == "all":
            return [name for name in DIMENSIONS if self.mode == "standard" or not DIMENSIONS[name].described]
        return sorted(self.dimensions, key=lambda name: list(DIMENSIONS).index(name) if name in DIMENSIONS else -1)


class VBenchConfig(Section):
    """How VBench is run, and which sets fill its tables."""

    version: str = "0.1.5"
    """Of vbench, whose list of prompts is read."""
    sha256: str = Field("13266ed4715d91a7669ab58484b9e010bc91bb96e129d414fb512d4937890023", pattern=r"^[0-9a-f]{64}$")
    """Of the wheel on PyPI that its prompts are read from."""
    subset: Annotated[str, File()] = "resources/paper/vbench100_indices.tsv"
    """The prompts of the paper's ablations: places in VBench's list (column `vbench_index`)."""
    checkpoints: Annotated[str, File()] = "resources/vbench/checkpoints.yaml"
    """What its networks are loaded from."""
    python: Annotated[str, Planning()] = "python"
    """Interpreter that has vbench installed: a command, or a path relative to the repository root. With conda the
    rule's own environment has it."""
    device: Annotated[Literal["auto", "cpu", "cuda"], Planning()] = "auto"
    """`auto`: a GPU when there is one."""
    shard_size: Annotated[int, Planning()] = Field(100, ge=1)
    """Videos of one dimension that one job judges; no result depends on it."""
    main: str | None = None
    """The evaluation set of results/tables/vbench.csv."""
    ablation: str | None = None
    """The evaluation set of results/tables/vbench100.csv."""
