"""The ready entries of resources/generators.yaml."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pydantic import TypeAdapter

from promptavideo import registry
from promptavideo.config import Config, check
from promptavideo.errors import InputError
from promptavideo.generators import source
from promptavideo.generators.diffusers_config import FRAME_RULES, DiffusersConfig

ROOT = Path(__file__).parents[1]
RAW: dict[str, Any] = yaml.safe_load((ROOT / "resources/generators.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def config() -> Config:
    """The file laid over config.yaml, checked as a run checks it: classes, settings and frames included."""
    assert source.installed() is not None, "entries are checked against the installed diffusers"
    raw = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    for part, entries in RAW.items():
        raw[part] |= entries
    return check(raw, ROOT)


@pytest.mark.parametrize("name", RAW["generators"])
def test_is_accepted_by_the_workflow_and_by_the_script_that_films(config: Config, name: str) -> None:
    entry = config.generators[name]
    assert set(entry.models) <= set(RAW["models"])
    assert TypeAdapter(registry.union("generators")).validate_json(entry.model_dump_json()) == entry


def test_every_model_is_used_by_an_entry(config: Config) -> None:
    assert set(RAW["models"]) == {model for name in RAW["generators"] for model in config.generators[name].models}


def test_every_pipeline_of_which_the_frames_are_known_has_an_entry(config: Config) -> None:
    entries = [entry for entry in config.generators.values() if isinstance(entry, DiffusersConfig)]
    assert set(FRAME_RULES) <= {entry.pipeline for entry in entries}
    assert all("num_frames" in entry.sampling for entry in entries if entry.pipeline in FRAME_RULES)


def test_both_ltx_entries_read_as_many_tokens_of_a_text_as_their_makers_code(config: Config) -> None:
    installed = source.installed()
    assert installed is not None
    for name in ("ltx-video", "ltx-video-distilled"):
        entry = config.generators[name]
        assert isinstance(entry, DiffusersConfig)
        by_default = source.defaults(source.find(installed, entry.pipeline, name), "__call__")
        assert (by_default | entry.sampling)["max_sequence_length"] == 256


def test_no_entry_asks_an_endpoint_that_ended(config: Config) -> None:
    addresses = [getattr(entry, "base_url", "") for entry in config.generators.values()]
    assert not any("api.openai.com" in address for address in addresses)  # its /videos ended in September 2026


def test_adapters_are_models_of_one_file_each(config: Config) -> None:
    entries = [entry for entry in config.generators.values() if isinstance(entry, DiffusersConfig) and entry.loras]
    assert entries
    for lora in (lora for entry in entries for lora in entry.loras):
        (file,) = RAW["models"][lora.model]["allow_patterns"]
        assert file.endswith(".safetensors") and "*" not in file


def scheduler(config: Config, name: str, published: Any) -> Any:
    """The scheduler of an entry, over the one of its model."""
    import diffusers

    entry = config.generators[name]
    assert isinstance(entry, DiffusersConfig) and entry.scheduler
    return getattr(diffusers, entry.scheduler.name).from_config(published.config, **entry.scheduler.settings)


def test_lightning_films_at_the_times_that_it_was_distilled_for(config: Config) -> None:
    from diffusers import UniPCMultistepScheduler

    wan = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    found = scheduler(config, "wan-2.2-14b-lightning", wan)
    found.set_timesteps(4)
    sigmas = [5 * s / (1 + 4 * s) for s in (1, 0.75, 0.5, 0.25, 0)]
    assert found.sigmas.tolist() == pytest.approx(sigmas, abs=1e-3)
    assert found.timesteps.tolist() == pytest.approx([1000, 937.5, 833.3, 625], abs=1)
    sample = start = torch.linspace(-1, 1, 16, dtype=torch.float64).view(1, 1, 1, 4, 4)
    expected = start
    for time, sigma, then in zip(found.timesteps, found.sigmas, found.sigmas[1:], strict=False):
        sample = found.step(torch.sin(3 * sample), time, sample).prev_sample
        expected = expected + (then - sigma) * torch.sin(3 * expected)
    assert torch.allclose(sample, expected, atol=1e-6)  # Euler's method


def test_the_distilled_ltx_video_takes_its_timesteps_as_they_are(config: Config) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    ltx = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.95, max_shift=2.05, shift_terminal=0.1
    )
    found = scheduler(config, "ltx-video-distilled", ltx)
    entry = config.generators["ltx-video-distilled"]
    assert isinstance(entry, DiffusersConfig)
    times = entry.sampling["timesteps"]
    assert isinstance(times, list)
    found.set_timesteps(timesteps=times, mu=1.0)
    assert found.sigmas.tolist() == pytest.approx([*(float(time) / 1000 for time in times), 0])


def test_what_is_missing_here_is_said_before_filming(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"generators\.open-sora-1\.2\.command: there is no program conda"):
        config.generators["open-sora-1.2"].ready("generators.open-sora-1.2")
    (tmp_path / "conda").touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"generators\.open-sora-1\.2\.checkout: external/Open-Sora is not a folder"):
        config.generators["open-sora-1.2"].ready("generators.open-sora-1.2")
    config.generators["wan-2.1-1.3b"].ready("generators.wan-2.1-1.3b")
