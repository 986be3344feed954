import os
import shutil
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: a waiting thread leaves its core to others

import pytest
import torch
from tiny import tiny_llama
from transformers import AutoModelForCausalLM, BertConfig, BertModel, BertTokenizerFast

from promptavideo.boosters.chat import Instruction
from promptavideo.miniature.training import build_scheduler, build_transformer, build_vae
from promptavideo.models import LocalModel, MiniatureModel, fetch

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Under pytest-xdist, start with the files that take longest, so that no worker is left with one at the end."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: not (item.get_closest_marker("workflow") or "boosters_scale" in item.path.stem))


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Llama as a fetched model."""
    folder = tmp_path_factory.mktemp("llama")
    fetch("tiny", LocalModel(kind="local", path=str(tiny_llama(folder / "source"))), folder / "tiny", {})
    return folder / "tiny"


@pytest.fixture(scope="session")
def outspoken(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Llama with logits as far apart as a trained model's, so that the prompt decides the text."""
    folder = tmp_path_factory.mktemp("outspoken")
    model: Any = AutoModelForCausalLM.from_pretrained(llama)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(8)
    shutil.copytree(llama, folder / "source")
    model.save_pretrained(folder / "source")
    fetch("outspoken", LocalModel(kind="local", path=str(folder / "source")), folder / "model", {})
    return folder / "model"


@pytest.fixture(scope="session")
def instruction(tmp_path_factory: pytest.TempPathFactory) -> Instruction:
    """A short instruction."""
    path = tmp_path_factory.mktemp("instruction") / "booster.txt"
    path.write_text("Rewrite: $prompt\n")
    return Instruction(path)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random one-layer text encoder of MiniLM's width, as a fetched model."""
    folder = tmp_path_factory.mktemp("encoder")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "blue", "green", "ball", "box"]
    BertTokenizerFast(vocab={word: index for index, word in enumerate(vocabulary)}).save_pretrained(folder / "source")
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(vocabulary), hidden_size=384, num_hidden_layers=1, intermediate_size=8)
    BertModel(config).save_pretrained(folder / "source")
    fetch("encoder", LocalModel(kind="local", path=str(folder / "source")), folder / "encoder", {})
    return folder / "encoder"


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Path:
    """A miniature generator with random weights, as a fetched model."""
    folder = tmp_path_factory.mktemp("miniature")
    torch.manual_seed(0)
    build_vae().half().save_pretrained(folder / "weights/vae")
    build_transformer().half().save_pretrained(folder / "weights/transformer")
    build_scheduler().save_pretrained(folder / "weights/scheduler")
    entry = MiniatureModel(kind="miniature", weights=str(folder / "weights"), text_encoder="encoder")
    fetch("mini", entry, folder / "mini", {"encoder": encoder})
    return folder / "mini"


@pytest.fixture(scope="session")
def reward_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tiny reward models, each fetched: videoscore, clip-l, head, mps, clip-h."""
    import tiny_judges  # here, since few tests need it and its imports take seconds

    return tiny_judges.fetched(tmp_path_factory.mktemp("reward_models"))
