"""Find a booster: in the folder of a run, as an exported model, on the Hub, or as the last one that was trained."""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from promptavideo import registry
from promptavideo.batches import Booster
from promptavideo.boosters.chat import Instruction
from promptavideo.boosters.config import Dtype, SamplingSettings, Writes
from promptavideo.boosters.load import CARD, Chain, read_chain
from promptavideo.devices import Device
from promptavideo.errors import InputError, UsageError
from promptavideo.files import sha256
from promptavideo.models import HubModel, Manifest, ModelEntry, check_model, fetch
from promptavideo.negatives import DescriptorLimits
from promptavideo.reading import Reader, read_readers
from promptavideo.study import Study
from promptavideo.use import record, workspace

log = logging.getLogger(__name__)

SHIPPED = Path("resources/booster")
"""A booster that comes with a checkout, for those who have not trained one."""

NONE = (
    "there is no booster here: train one (make reproduce), or name one by --booster: the folder of a run's booster or "
    "of an exported model, or a model of the Hub at a pinned revision (OWNER/NAME@COMMIT)"
)

BARE = "$prompt"
"""The instruction of a model whose chat template holds it already."""

_HUB = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?")
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
_FETCHED = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "*.md"]


@dataclass(frozen=True)
class Settings:
    """How a booster's texts are drawn, of whatever origin."""

    sampling: SamplingSettings
    device: Device = "auto"
    dtype: Dtype = "auto"
    threads: int = 2


@dataclass(frozen=True)
class Source:
    """A booster that was found, ready to be loaded."""

    name: str
    """For people."""
    chain: Chain
    """Its base model, which is there, and its adapters."""
    instruction: Instruction
    settings: Settings
    seed: int
    """The run's, with which its tables were made."""
    readers: Mapping[str, Reader]
    """What bounds its texts, by the generator that reads."""
    writes: Writes = "text"
    card: Mapping[str, Any] = field(default_factory=dict)
    """What its training recorded; nothing of a whole model."""
    study: Study | None = None
    """The run that it is of, if it is around it."""
    booster: Booster | None = None
    """It in that run."""
    descriptors: DescriptorLimits = field(default_factory=DescriptorLimits)
    """Bounds of what it writes, where these are negative prompts."""

    def on(self, device: Device | None, dtype: Dtype | None = None) -> "Source":
        """The same on another device, or in another dtype, than its configuration says; None leaves it."""
        own = self.settings
        return replace(self, settings=replace(own, device=device or own.device, dtype=dtype or own.dtype))


def find(given: str | None, instruction: Path | None = None) -> Source:
    """A booster by what a user says of it.

    Args:
        given: A folder, or `OWNER/NAME@REVISION` of the Hub; None takes the last booster of the run here, or else the
            one that comes with a checkout.
        instruction: Of a whole model whose chat template does not hold it: a text file with `$prompt`.

    Raises:
        UsageError: A model of the Hub has no pinned revision.
        InputError: There is no such booster, or it is not whole; its base model cannot be fetched, or is another one
            than it was trained over.
    """
    if given is None:
        return _at_hand()
    if Path(given).is_dir():
        return _in_folder(Path(given).resolve(), instruction)
    named = _HUB.fullmatch(given)
    if named is None:
        raise InputError(f"--booster {given}: is neither a folder nor OWNER/NAME@COMMIT of the Hub; check the path")
    if not named["revision"]:
        raise UsageError(
            f"--booster {given}: there is no such folder, and a model of the Hub needs a pinned revision: "
            f"{given}@COMMIT, so that it stays the one that you tried"
        )
    return _in_folder(_fetched(given, named["repo"], named["revision"]), instruction)


def of_run(study: Study, booster: Booster) -> Source:
    """A booster of a run; its base model is fetched where it is not there.

    Raises:
        InputError: It is not whole, or its base model is not the one that it was trained over.
    """
    root, settings = study.root, study.settings_of(booster)
    folder = (root / study.files_of(booster).folder).resolve()
    card = _whole(folder)
    base = workspace.ensure(settings.base, study.config.models, (root / study.layout.models).resolve(), root)
    tracks = [one for one in booster.tracks if study.config.generators[one].text_bound]
    records = {one: root / study.layout.reader(one) for one in tracks}
    for lost in [path for path in records.values() if not path.is_file()]:
        log.warning("%s: is not there, so texts are not bounded by what that generator reads", lost)
    there = {one: read_readers([str(path)]) for one, path in records.items() if path.is_file()}
    return Source(
        name=booster.known_as,
        chain=_chain(base, folder, card),
        instruction=Instruction.of(card.get("instruction") or _text(root / settings.instruction), str(folder / CARD)),
        settings=Settings(settings.sampling, settings.device, settings.dtype, settings.threads),
        seed=study.config.seed,
        readers={one: reader for one, found in there.items() for reader in found},
        writes=booster.writes,
        card=card,
        study=study,
        booster=booster,
        descriptors=study.config.booster.negative.descriptors,
    )


def trained(study: Study, track: str, writes: Writes = "text") -> list[Booster]:
    """The boosters of a track that a run has trained, in their order."""
    found = (one for one in study.boosters(track) if one.writes == writes)
    return [one for one in found if (study.root / study.files_of(one).card).is_file()]


def last(study: Study) -> Booster | None:
    """The last booster of texts that a run has trained for its first track that has one."""
    return next((found[-1] for track in study.tracks if (found := trained(study, track))), None)


def study_for(source: Source) -> Study:
    """The run whose generators and judges go with a booster: its own, or else that of this folder or its checkout's.

    Raises:
        InputError: There is none.
    """
    return source.study or study_here(source.name)


def study_here(asked: str) -> Study:
    """The run of this folder, or of the checkout that it is in.

    Args:
        asked: What wants its generators and judges, for messages.

    Raises:
        InputError: There is none.
    """
    root = workspace.around(Path()) or workspace.checkout(Path())
    if root is None:
        raise InputError(
            f"{asked}: generators and judges are those of a run, and there is none around it or in this folder; "
            "call it in a clone of the repository, or in a folder in which a run was started (make reproduce)"
        )
    return workspace.study_in(root)


def negative_for(source: Source) -> Source:
    """The booster of negative prompts that goes with a booster of texts: the last that its run has trained.

    Raises:
        InputError: There is none.
    """
    study = source.study
    found = [one for track in study.tracks for one in trained(study, track, "negative")] if study else []
    if study is None or not found:
        raise InputError(
            f"{source.name}: no booster of negative prompts goes with it; train one "
            "(snakemake --configfile studies/negative_prompts.yaml), or name one by --negative-booster"
        )
    return of_run(study, found[-1])


def _at_hand() -> Source:
    root = workspace.around(Path())
    if root is not None:
        study = workspace.study_in(root)
        if booster := last(study):
            return of_run(study, booster)
    for place in (*([root] if root else []), Path(), Path(__file__).parents[2]):
        if (place / SHIPPED / CARD).is_file():
            return _in_folder((place / SHIPPED).resolve(), None)
    raise InputError(NONE)


def _in_folder(folder: Path, instruction: Path | None) -> Source:
    if (folder / CARD).is_file():
        if (folder / record.FILE).is_file():
            return _with_record(folder)
        root = workspace.around(folder)
        if root is None:
            raise InputError(
                f"{folder}: nothing around it says with which base model and sampling it is used. Name it within the "
                "folder of its run, or make a model of it there that can be taken elsewhere: promptavideo export"
            )
        study = workspace.study_in(root)
        return of_run(study, study.owned(folder.parents[1].name, folder.name))
    if (folder / "config.json").is_file():
        return _whole_model(folder, instruction)
    if (folder / "adapter_config.json").is_file() and (folder.parent / CARD).is_file():
        return _in_folder(folder.parent, instruction)
    raise InputError(
        f"{folder}: is no booster: it holds neither {CARD} nor config.json. If it was copied, copy it again, whole"
    )


def _with_record(folder: Path) -> Source:
    """A booster whose folder says all that its use takes but the base model's weights."""
    found, readers = record.read(folder)
    card = _whole(folder)
    if found.base is None:
        raise InputError(f"{folder / record.FILE}: names no base model for its adapter; copy the folder again")
    given = {key: value for key, value in found.base.items() if key != "name"}
    try:
        entry: ModelEntry = TypeAdapter(registry.union("models")).validate_python(given)
    except ValidationError as error:
        raise InputError(f"{folder / record.FILE}: its base model is no entry of `models` ({error})") from error
    name, root = str(found.base["name"]), workspace.around(folder)
    models = root / "resources/models" if root else _checkout(folder)
    base = workspace.ensure(name, {name: entry}, models, root or folder)
    return Source(
        name=found.name,
        chain=_chain(base, folder, card),
        instruction=Instruction.of(found.instruction, str(folder / record.FILE)),
        settings=Settings(found.sampling),
        seed=found.seed,
        readers={f"generator {place}": one for place, one in enumerate(readers)},
        writes=found.writes,
        card=card,
    )


def _checkout(folder: Path) -> Path:
    """The folder of fetched models of the checkout that a folder is in, or else that of this user."""
    root = workspace.checkout(folder)
    return root / "resources/models" if root else workspace.cache() / "models"


def _whole_model(folder: Path, instruction: Path | None) -> Source:
    """An exported booster, or another whole chat model."""
    _check_weights(folder)
    readers: Sequence[Reader] = ()
    if (folder / record.FILE).is_file():
        found, readers = record.read(folder)
    else:
        sampling = _drawn_as_published(folder)
        found = record.Record(name=folder.name, instruction=BARE, sampling=sampling, seed=1)
    asks = Instruction(instruction) if instruction else Instruction.of(BARE, str(folder))
    return Source(
        name=found.name,
        chain=Chain(folder, ()),
        instruction=asks,
        settings=Settings(found.sampling),
        seed=found.seed,
        readers={f"generator {place}": one for place, one in enumerate(readers)},
        writes=found.writes,
    )


def _drawn_as_published(folder: Path) -> SamplingSettings:
    """The sampling that a model's own generation settings say, in small calls."""
    keys = {"temperature": float, "top_p": float, "top_k": int, "max_new_tokens": int}
    try:
        said = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        said = {}
    own = {key: kind(said[key]) for key, kind in keys.items() if said.get(key)}
    try:
        return SamplingSettings(batch_size=8, **own)
    except ValidationError as error:
        raise InputError(f"{folder}/generation_config.json: cannot be drawn with ({error})") from error


def _fetched(given: str, repo: str, revision: str) -> Path:
    """A model of the Hub, on disk."""
    name = f"{repo.replace('/', '--')}@{revision}"
    folder = workspace.cache() / "boosters" / name
    if (folder / "manifest.json").is_file():
        check_model(folder)
        return folder
    try:
        entry = HubModel(kind="hub", repo_id=repo, revision=revision, allow_patterns=_FETCHED)
    except ValidationError as error:
        raise UsageError(f"--booster {given}: {error.errors()[0]['msg']}") from error
    try:
        fetch(name, entry, folder, {})
    except InputError as error:
        # The message names keys of a configuration, which this user does not have.
        raise InputError(re.sub(rf"models\.{re.escape(name)}(\.\w+)?", f"--booster {given}", str(error))) from error
    return folder


def _whole(folder: Path) -> dict[str, Any]:
    """The card of a booster whose files, and those of the boosters that it goes on from, are all there."""
    cards: list[dict[str, Any]] = []
    place: Path | None = folder
    while place is not None:
        copied = f"copy {folder} again, with the boosters that it goes on from beside it"
        try:
            card = json.loads((place / CARD).read_text(encoding="utf-8"))
            previous = card["previous"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{place / CARD}: is no card of a booster ({error}); {copied}") from error
        for file in _ADAPTER:
            if not (place / "adapter" / file).is_file():
                raise InputError(f"{place / 'adapter' / file}: is missing, though {place / CARD} is there; {copied}")
        if sha256(place / "adapter" / _ADAPTER[1]) != card.get("adapter"):
            raise InputError(f"{place / 'adapter' / _ADAPTER[1]}: is not the one that {place / CARD} names; {copied}")
        cards.append(card)
        place = (place / previous).resolve() if previous and len(cards) < 100 else None
    return cards[0]


def _chain(base: Path, folder: Path, card: Mapping[str, Any]) -> Chain:
    """The base model and the adapters, which were trained over it."""
    manifest: Manifest = check_model(base)
    if manifest.digest != card.get("base"):
        of = card.get("base_model", {}).get("name", "another model")
        raise InputError(
            f"{folder}: was trained over {of} with digest {str(card.get('base'))[:16]}, and {base} is {manifest.name} "
            f"with digest {manifest.digest[:16]}; use it with the base model that it was trained over"
        )
    return read_chain(base, folder)


def _check_weights(folder: Path) -> None:
    """Check that all weights of a model's folder are there.

    Raises:
        InputError: There are none, or one of the files that its index names is missing.
    """
    index = folder / "model.safetensors.index.json"
    try:
        names = {*json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()} if index.is_file() else set()
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{index}: is no index of weights ({error}); copy the folder again") from error
    wanted = sorted(names) or ["model.safetensors"]
    lost = [name for name in (*wanted, "tokenizer_config.json") if not (folder / name).is_file()]
    if lost:
        raise InputError(f"{folder}: is half a model, {', '.join(lost[:3])} is missing; copy it again, whole")


def _text(path: Path) -> str:
    return Instruction(path).template.template
