"""The ready entries of resources/generators.yaml."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from promptavideo.config import Config, check
from promptavideo.errors import InputError
from promptavideo.generators import GeneratorConfig, check_ready, source
from promptavideo.generators.diffusers_config import FRAME_RULES, DiffusersConfig

ROOT = Path(__file__).parents[1]
RAW: dict[str, Any] = yaml.safe_load((ROOT / "resources/generators.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def config() -> Config:
    """The file laid over config.yaml, checked as a run checks it: classes, settings and frames included."""
    assert source.Source.installed() is not None, "entries are checked against the installed diffusers"
    raw = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    for part, entries in RAW.items():
        raw[part] |= entries
    return check(raw, ROOT)


@pytest.mark.parametrize("name", RAW["generators"])
def test_is_accepted_by_the_workflow_and_by_the_script_that_films(config: Config, name: str) -> None:
    entry = config.generators[name]
    assert set(entry.models) <= set(RAW["models"])
    assert TypeAdapter(GeneratorConfig).validate_json(entry.model_dump_json()) == entry


def test_every_model_is_used_by_an_entry(config: Config) -> None:
    assert set(RAW["models"]) == {model for name in RAW["generators"] for model in config.generators[name].models}


def test_every_pipeline_of_which_the_frames_are_known_has_an_entry(config: Config) -> None:
    entries = [entry for entry in config.generators.values() if isinstance(entry, DiffusersConfig)]
    assert set(FRAME_RULES) <= {entry.pipeline for entry in entries}
    assert all("num_frames" in entry.sampling for entry in entries if entry.pipeline in FRAME_RULES)


def test_what_is_missing_here_is_said_before_filming(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(InputError, match=r"generators\.sora\.key_variable: .*OPENAI_API_KEY is not set"):
        check_ready("sora", config.generators["sora"])
    monkeypatch.setenv("OPENAI_API_KEY", "sk-something")
    check_ready("sora", config.generators["sora"])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"generators\.open-sora-1\.2\.command: there is no program conda"):
        check_ready("open-sora-1.2", config.generators["open-sora-1.2"])
    (tmp_path / "conda").touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"generators\.open-sora-1\.2\.checkout: external/Open-Sora is not a folder"):
        check_ready("open-sora-1.2", config.generators["open-sora-1.2"])
    check_ready("wan-2.1-1.3b", config.generators["wan-2.1-1.3b"])
