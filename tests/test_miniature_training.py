import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from promptavideo.generators.diffusers import DiffusersConfig, DiffusersGenerator
from promptavideo.miniature import fitting, training
from promptavideo.miniature.training import Plan, export, fill_cache, train, train_transformer, train_vae
from promptavideo.models import MiniatureModel, check_model, fetch
from promptavideo.shots import Shot

# Five clips in parts of four take two files.
PLAN = Plan(
    vae_steps=3,
    vae_batch=2,
    clips=5,
    steps=3,
    batch=2,
    decay_steps=2,
    checkpoint_every=1,
    seed=1,
    part=4,
    encode_batch=2,
)


class StoppedError(Exception):
    """Stands in for the end of the process."""


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Path:
    """A whole training."""
    folder = tmp_path_factory.mktemp("training") / "unbroken"
    train(folder, encoder, PLAN)
    return folder


def weights(folder: Path, part: str) -> dict[str, torch.Tensor]:
    return load_file(folder / part / "diffusion_pytorch_model.safetensors")


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def stop_after(saves: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes training stop once it has saved its state that many times."""
    save, done = fitting.save_state, [0]

    def stopping(*state: Any) -> None:
        save(*state)
        done[0] += 1
        if done[0] == saves:
            raise StoppedError

    monkeypatch.setattr(fitting, "save_state", stopping)


def test_both_models_learn_from_where_they_started(unbroken: Path) -> None:
    for part, build in (("vae", training.build_vae), ("transformer", training.build_transformer)):
        torch.manual_seed(PLAN.seed)
        fresh = build()
        learnt = weights(unbroken, part)
        assert learnt.keys() == fresh.state_dict().keys()
        assert not same(learnt, dict(fresh.state_dict()))
        assert all(value.isfinite().all() for value in learnt.values())


def test_scaled_latents_have_unit_deviation(unbroken: Path) -> None:
    vae = training.AutoencoderKL.from_pretrained(unbroken / "vae")
    cache = training.Cache(unbroken / "cache")
    assert 0.8 < float(cache.latents.float().std()) < 1.25
    assert vae.config.scaling_factor != 0.18215  # the class's default


def test_one_zero_token_stands_for_all_padding(unbroken: Path, encoder: Path) -> None:
    """The short text of training and the padded one of the pipeline give the same prediction."""
    cache = training.Cache(unbroken / "cache")
    latents, states, bias = cache.batch(np.random.default_rng(0), 3, empty=False)
    torch.manual_seed(0)
    model = training.build_transformer().eval()
    padded = torch.zeros(3, training.TEXT_TOKENS, states.shape[-1])
    padded[:, : states.shape[1]] = states
    times = torch.tensor([10, 500, 999])
    with torch.no_grad():
        short = model(latents, times, states, encoder_attention_mask=bias, return_dict=False)[0]
        long = model(latents, times, padded, return_dict=False)[0]
        unbiased = model(latents, times, states, return_dict=False)[0]
    torch.testing.assert_close(short, long, atol=1e-4, rtol=1e-4)
    assert (unbiased - long).abs().max() > 1e-3


@pytest.mark.parametrize("saves", [1, 2])
def test_a_stopped_vae_goes_on_to_the_same_weights(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saves: int
) -> None:
    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        stop_after(saves, patch)
        train_vae(tmp_path, PLAN)
    assert not (tmp_path / "vae").exists()
    torch.manual_seed(99)
    train_vae(tmp_path, PLAN)
    assert same(weights(unbroken, "vae"), weights(tmp_path, "vae"))


@pytest.mark.parametrize("saves", [1, 3])
def test_a_stopped_transformer_goes_on_to_the_same_average(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saves: int
) -> None:
    (tmp_path / "cache").symlink_to(unbroken / "cache")
    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        stop_after(saves, patch)
        train_transformer(tmp_path, PLAN)
    torch.manual_seed(99)
    train_transformer(tmp_path, PLAN)
    assert same(weights(unbroken, "transformer"), weights(tmp_path, "transformer"))


def test_the_cache_is_made_once_and_a_lost_part_comes_back_the_same(
    unbroken: Path, encoder: Path, tmp_path: Path
) -> None:
    shutil.copytree(unbroken, tmp_path / "copy")
    cache = tmp_path / "copy" / "cache"
    assert sorted(path.name for path in cache.iterdir()) == ["0.safetensors", "1.safetensors", "empty.safetensors"]
    before = {path.name: (path.stat().st_mtime_ns, load_file(path)) for path in cache.iterdir()}
    vae = training.AutoencoderKL.from_pretrained(unbroken / "vae")
    fill_cache(tmp_path / "copy", vae, tmp_path / "no encoder is needed", PLAN)
    for lost in ("1.safetensors", "empty.safetensors"):
        (cache / lost).unlink()
        fill_cache(tmp_path / "copy", vae, encoder, PLAN)
        for name, (written, tensors) in before.items():
            assert same(tensors, load_file(cache / name))
            assert name in ("1.safetensors", "empty.safetensors") or (cache / name).stat().st_mtime_ns == written


def test_a_finished_training_run_again_changes_nothing(unbroken: Path, tmp_path: Path) -> None:
    shutil.copytree(unbroken, tmp_path / "copy")
    train(tmp_path / "copy", tmp_path / "no encoder is needed", PLAN)
    for part in ("vae", "transformer"):
        assert same(weights(unbroken, part), weights(tmp_path / "copy", part))


@pytest.mark.parametrize("part", ["vae", "transformer"])
def test_a_model_killed_while_it_is_saved_is_made_again(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    (tmp_path / "cache").symlink_to(unbroken / "cache")
    phase = {"vae": train_vae, "transformer": train_transformer}[part]

    def half_written(self: Any, folder: Path) -> None:
        self.save_config(folder)
        raise StoppedError

    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr(training.AutoencoderKL, "save_pretrained", half_written)
        patch.setattr(training.LatteTransformer3DModel, "save_pretrained", half_written)
        phase(tmp_path, PLAN)
    phase(tmp_path, PLAN)
    assert same(weights(unbroken, part), weights(tmp_path, part))


def test_the_export_is_half_precision_and_films(unbroken: Path, encoder: Path, tmp_path: Path) -> None:
    export(unbroken, tmp_path / "shipped")
    for part in ("vae", "transformer"):
        shipped, full = weights(tmp_path / "shipped", part), weights(unbroken, part)
        assert {value.dtype for value in shipped.values()} == {torch.float16}
        assert same(shipped, {name: value.half() for name, value in full.items()})
    entry = MiniatureModel(kind="miniature", weights=str(tmp_path / "shipped"), text_encoder="encoder")
    fetch("mini", entry, tmp_path / "mini", {"encoder": encoder})
    assert check_model(tmp_path / "mini").kind == "miniature"
    config = DiffusersConfig(
        kind="diffusers",
        pipeline="LattePipeline",
        model="mini",
        dtype="float32",
        device="cpu",
        fps=8.0,
        sampling={"height": 32, "width": 32, "video_length": 8, "num_inference_steps": 2, "clean_caption": False},
        seconds_per_video=1.0,
    )
    generator = DiffusersGenerator(config, tmp_path / "mini")
    assert generator._pipeline.scheduler.config.rescale_betas_zero_snr
    (clip,) = generator.film([Shot("a red ball", None, 1)])
    assert clip.frames.shape == (8, 32, 32, 3)
