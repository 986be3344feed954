"""The miniature generator of images: what it learns from, that its training resumes, and the pipeline it becomes."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from diffusers import PixArtTransformer2DModel
from makers import RAW, diffusers_config
from safetensors.torch import load_file

from promptavideo.config import check
from promptavideo.errors import InputError
from promptavideo.generators.diffusers import DiffusersGenerator
from promptavideo.judges.detector import detect
from promptavideo.judges.pixels import PREFERRED, Content, PixelJudge, PixelPreference, agreement
from promptavideo.miniature import fitting, stills, training
from promptavideo.miniature.acceptance import draw_wordings, measure
from promptavideo.miniature.assembly import assemble
from promptavideo.miniature.stills import Plan, train
from promptavideo.miniature.world import IN_TIME, QUALITY_WORDS, Scene, caption, random_scene, render, render_still
from promptavideo.models import MiniatureModel, fetch
from promptavideo.shots import Shot
from promptavideo.video import Clip

ROOT = Path(__file__).parents[1]
PLAN = Plan(stills=6, steps=3, batch=2, decay_steps=2, checkpoint_every=1, seed=1, part=4, encode_batch=2)
ENTRY: dict[str, Any] = {
    "pipeline": "PixArtSigmaPipeline",
    "medium": "image",
    "fps": None,
    "sampling": {
        "height": 32,
        "width": 32,
        "num_inference_steps": 2,
        "clean_caption": False,
        "use_resolution_binning": False,
        "max_sequence_length": stills.TEXT_TOKENS,
    },
}


def image(scene: Scene, seed: int = 0) -> Clip:
    return Clip(render_still(scene, np.random.default_rng(seed))[None], 0.0)


BALL = Scene("red", "ball", "left", "stripes")


# --- the world ---


def test_a_still_shows_nothing_of_what_needs_time() -> None:
    for flaw in IN_TIME:
        assert np.array_equal(image(BALL).frames, image(BALL.with_flaw(flaw, 1.0)).frames), flaw
    for flaw in set(QUALITY_WORDS) - set(IN_TIME):
        assert not np.array_equal(image(BALL).frames, image(BALL.with_flaw(flaw, 1.0)).frames), flaw


def test_a_still_lies_on_its_clips_path() -> None:
    still = Scene("red", "ball", "left", "wall", BALL.flaws | {"speed": 1.0})
    clip = render(replace(still, flaws=BALL.flaws), np.random.default_rng(5))
    coverage = np.abs(clip[3:5].astype(float) - image(still, 5).frames[0]).mean(axis=(1, 2, 3))
    assert coverage.min() < 8, "near the middle of the clip"


# --- judges ---


def test_one_frame_is_not_asked_for_motion() -> None:
    seen = detect(image(BALL).frames)
    assert agreement(seen, Content("red", "ball", "left", "stripes")) > 0.9
    assert agreement(seen, Content(None, None, "left", None)) == 0.5, "nothing that an image could show is asked"
    assert agreement(seen, Content("blue", "ball", "left", "stripes")) < 0.75
    clip = detect(np.repeat(image(BALL).frames, 8, axis=0))
    assert agreement(clip, Content("red", "ball", "left", "stripes")) < 0.8, "a clip that stands still"


def test_the_preference_is_for_sharp_vivid_and_bright_pictures_of_what_was_asked() -> None:
    def score(clip: Clip, prompt: str = "a red ball against vertical stripes") -> float:
        (found,) = PixelPreference().score([clip], [prompt])
        return found["HPS"]

    best = score(image(BALL))
    assert PREFERRED[0] < best <= PREFERRED[1]
    for flaw in ("focus", "saturation", "exposure"):
        assert score(image(BALL.with_flaw(flaw, 1.0))) < best - 2, flaw
    assert score(image(BALL), "a blue box on a tiled floor") < best - 5
    assert score(Clip(np.full((1, 32, 32, 3), 128, np.uint8), 0.0)) == PREFERRED[0], "there is nothing"
    own = PixelJudge().score([image(BALL)], ["a red ball"])[0]
    blurred = PixelJudge().score([image(BALL.with_flaw("focus", 1.0))], ["a red ball"])[0]
    assert abs(own["AES"] - blurred["AES"]) < 1 and abs(own["MPS"] - blurred["MPS"]) < 2, "no reward sees focus"


# --- acceptance ---


def obey(shots: list[Shot]) -> list[Clip]:
    """Draws what a text says; what it leaves open is drawn from the seed."""
    from test_acceptance import _obey

    return [Clip(clip.frames[3:4], 0.0) for clip in _obey(shots)]


def test_images_are_accepted_without_motion() -> None:
    report = measure(obey, seed=0, prompts=12, seeds=2, medium="image")
    assert list(report.detected.index) == ["colour", "background", "shape"]
    assert list(report.rewards.index) == ["AES", "MPS", "HPS"] and (report.rewards["effect"] > 2).all()
    assert list(report.foreign) == ["crew", "in-time"]
    assert {one.name: one.holds for one in report.criteria}["good beats short"]


def test_wordings_for_images_leave_out_what_needs_time() -> None:
    for asked in draw_wordings(3, 10, medium="image"):
        for quality, (good, bad) in QUALITY_WORDS.items():
            assert any(word in asked.good.lower() for word in good) == (quality not in IN_TIME)
            assert any(word in asked.foreign["in-time"][1].lower() for word in bad) == (quality in IN_TIME)


# --- training ---


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a VAE, as a miniature that films has one."""
    folder = tmp_path_factory.mktemp("films")
    torch.manual_seed(0)
    training.build_vae().save_pretrained(folder / "vae")
    return folder


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, encoder: Path, films: Path) -> Path:
    """A whole training."""
    folder = tmp_path_factory.mktemp("training") / "unbroken"
    train(folder, films, encoder, PLAN)
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_it_learns_from_captions_that_are_cut_as_the_pipeline_cuts_them(unbroken: Path) -> None:
    torch.manual_seed(PLAN.seed)
    assert not same(weights(unbroken), dict(stills.build_transformer().state_dict()))
    cache = stills.Cache(unbroken / "cache")
    assert len(cache.latents) == 8 and max(map(len, cache.texts)) == stills.TEXT_TOKENS
    rng = np.random.default_rng(0)
    assert any(len(caption(random_scene(rng), rng).split()) > stills.TEXT_TOKENS for _ in range(200))
    _, states, mask = cache.batch(np.random.default_rng(0), 3, empty=True)
    assert states.shape[:2] == (3, len(cache.empty)) and mask.all()


@pytest.mark.parametrize("saves", [1, 3])
def test_a_stopped_training_goes_on_to_the_same_weights(
    unbroken: Path, encoder: Path, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saves: int
) -> None:
    class StoppedError(Exception):
        pass

    save, done = fitting.save_state, [0]

    def stopping(*state: Any) -> None:
        save(*state)
        done[0] += 1
        if done[0] == saves:
            raise StoppedError

    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr(fitting, "save_state", stopping)
        train(tmp_path, films, encoder, PLAN)
    torch.manual_seed(99)
    (tmp_path / "cache" / "1.safetensors").unlink()
    train(tmp_path, films, encoder, PLAN)
    assert same(weights(unbroken), weights(tmp_path))


def test_the_export_becomes_a_pipeline_that_draws(unbroken: Path, encoder: Path, tmp_path: Path) -> None:
    training.export(unbroken, tmp_path / "weights", PixArtTransformer2DModel)
    entry = MiniatureModel(kind="miniature", weights=str(tmp_path / "weights"), text_encoder="minilm-l6")
    fetch("mini", entry, tmp_path / "mini", {"minilm-l6": encoder})
    generator = DiffusersGenerator(diffusers_config(**ENTRY), tmp_path / "mini")
    (one,) = generator.film([Shot("a red ball", None, 1)])
    assert one.frames.shape == (1, 32, 32, 3) and generator.reads_tokens == stills.TEXT_TOKENS
    long = "a red ball " + "in sharp focus, " * 20
    (cut,) = generator.film([Shot(long, None, 1)])
    (more,) = generator.film([Shot(long + "well lit", None, 1)])
    assert np.array_equal(cut.frames, more.frames), "what is cut changes nothing"


def test_another_transformer_is_no_miniature(unbroken: Path, encoder: Path, tmp_path: Path) -> None:
    shutil.copytree(unbroken / "transformer", tmp_path / "transformer")
    config = tmp_path / "transformer" / "config.json"
    config.write_text(config.read_text().replace("PixArtTransformer2DModel", "FluxTransformer2DModel"))
    with pytest.raises(InputError, match=r"FluxTransformer2DModel is no transformer of a miniature; known are Latte"):
        assemble(tmp_path, encoder, tmp_path / "target")


# --- what is shipped ---


def test_the_shipped_miniature_draws_what_is_asked_and_reads_no_more_than_it_says(tmp_path: Path) -> None:
    weights = ROOT / "resources/miniature-images"
    assert sum(path.stat().st_size for path in weights.rglob("*") if path.is_file()) < 12e6
    assert "**accepted**" in (weights / "card.md").read_text()
    overlay = yaml.safe_load((ROOT / "studies/images.yaml").read_text())
    entry = MiniatureModel(**{**overlay["models"]["mini-t2i"], "weights": str(weights)})
    fetch("minilm-l6", check(RAW, ROOT).models["minilm-l6"], tmp_path / "minilm", {})
    fetch("mini-t2i", entry, tmp_path / "mini", {"minilm-l6": tmp_path / "minilm"})
    config = diffusers_config(**{"fps": None, **overlay["generators"]["mini-t2i"]})
    generator = DiffusersGenerator(config, tmp_path / "mini")
    assert generator.reads_tokens == stills.TEXT_TOKENS
    asked = [(colour, shape) for colour in ("red", "blue", "green") for shape in ("box", "triangle")]
    good, bad = ", in sharp focus, vivid colors, well lit", ", blurry, faded, dark and underexposed"
    texts = [f"a {colour} {shape} moving up on a tiled floor" for colour, shape in asked]
    drawn = {words: list(generator.film([Shot(text + words, None, 1) for text in texts])) for words in (good, bad)}
    seen = [detect(clip.frames) for clip in drawn[good]]
    assert [one.colour for one in seen] == [colour for colour, _ in asked]
    assert sum(one.shape == shape for one, (_, shape) in zip(seen, asked, strict=True)) >= 5
    scores = {words: [one["HPS"] for one in PixelPreference().score(drawn[words], texts)] for words in drawn}
    assert min(scores[good]) > max(scores[bad])
