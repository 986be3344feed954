import json
from pathlib import Path
from typing import Any

import pytest
import torch
from makers import DPO, PAIRS, SFT, TRIPLES, make_run, train_dpo, train_sft
from safetensors.torch import load_file, save_file

from promptavideo.boosters.chat import Instruction
from promptavideo.boosters.compress import CONFIG, WEIGHTS, compress, write_booster
from promptavideo.boosters.load import CARD, Chain, load_chain, read_chain
from promptavideo.errors import InputError
from promptavideo.files import sha256


@pytest.fixture(scope="module")
def boosters(llama: Path, instruction: Instruction, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `sft`, and `dpo-1` trained from it: two adapters of rank 4."""
    folder = tmp_path_factory.mktemp("boosters")
    train_sft(PAIRS, Chain(llama, ()), instruction, SFT, make_run(folder, "sft"))
    train_dpo(TRIPLES, read_chain(llama, folder / "sft"), instruction, DPO, make_run(folder, "dpo-1", "../sft"))
    return folder


def weights(chain: Chain) -> dict[str, torch.Tensor]:
    model, _ = load_chain(chain, "float32")
    return dict(model.named_parameters())


def added(base: dict[str, torch.Tensor], chain: Chain) -> dict[str, torch.Tensor]:
    return {name: weight - base[name] for name, weight in weights(chain).items()}


def norm(tensors: dict[str, torch.Tensor]) -> float:
    return float(sum((tensor.double() ** 2).sum() for tensor in tensors.values()) ** 0.5)


@pytest.mark.parametrize("rank", [8, 50])
def test_an_adapter_of_the_summed_rank_holds_the_whole_chain(
    boosters: Path, llama: Path, tmp_path: Path, rank: int
) -> None:
    """Or of a higher one, also than the layers are wide."""
    lost = write_booster(llama, boosters / "dpo-1", tmp_path / "one", rank=rank)
    assert lost < 1e-6
    base, chain = weights(Chain(llama, ())), read_chain(llama, boosters / "dpo-1")
    made = read_chain(llama, tmp_path / "one")
    assert len(chain.adapters) == 2 and len(made.adapters) == 1
    whole, one = added(base, chain), added(base, made)
    assert norm({name: whole[name] - one[name] for name in whole}) < 2e-3 * norm(whole), "float16 rounds, no more"


def test_what_is_lost_is_what_the_weights_differ_by(boosters: Path, llama: Path, tmp_path: Path) -> None:
    lost = write_booster(llama, boosters / "dpo-1", tmp_path / "one", rank=3)
    base, chain = weights(Chain(llama, ())), read_chain(llama, boosters / "dpo-1")
    whole, one = added(base, chain), added(base, read_chain(llama, tmp_path / "one"))
    measured = norm({name: whole[name] - one[name] for name in whole}) / norm(whole)
    assert 0.01 < lost < 1 and measured == pytest.approx(lost, rel=0.02)
    ranks = [compress(chain.adapters, rank).lost for rank in (1, 3, 5, 8)]
    assert ranks == sorted(ranks, reverse=True)


def test_its_card_says_what_it_is_made_of(boosters: Path, llama: Path, tmp_path: Path) -> None:
    write_booster(llama, boosters / "dpo-1", tmp_path / "one", rank=4)
    before, card = (json.loads((folder / CARD).read_text()) for folder in (boosters / "dpo-1", tmp_path / "one"))
    assert card["previous"] is None and card["adapters"] == []
    assert card["adapter"] == sha256(tmp_path / "one/adapter" / WEIGHTS)
    assert card["compressed"]["chain"] == [*before["adapters"], before["adapter"]] and card["compressed"]["rank"] == 4
    for same in ("base", "instruction", "data", "seed", "settings", "base_model"):
        assert card[same] == before[same]
    assert all(tensor.dtype == torch.float16 for tensor in load_file(tmp_path / "one/adapter" / WEIGHTS).values())


def test_the_same_chain_gives_the_same_bytes(boosters: Path, llama: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_booster(llama, boosters / "dpo-1", tmp_path / name, rank=4)
    for file in (CARD, f"adapter/{CONFIG}", f"adapter/{WEIGHTS}"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"peft_type": "LOHA"}, "LOHA"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
    ],
)
def test_other_adapters_are_refused(boosters: Path, tmp_path: Path, change: dict[str, Any], told: str) -> None:
    config = json.loads((boosters / "sft/adapter" / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps(config | change))
    save_file(load_file(boosters / "sft/adapter" / WEIGHTS), tmp_path / WEIGHTS)
    with pytest.raises(InputError, match=f"no plain LoRA adapter.*{told}"):
        compress([tmp_path], 4)


def test_a_half_copied_adapter_is_named(boosters: Path, tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_bytes((boosters / "sft/adapter" / CONFIG).read_bytes())
    (tmp_path / WEIGHTS).write_bytes((boosters / "sft/adapter" / WEIGHTS).read_bytes()[:100])
    with pytest.raises(InputError, match="is no LoRA adapter"):
        compress([tmp_path], 4)
