"""What `dtype: auto` takes, on this machine and on others."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from promptavideo import dtypes, runs
from promptavideo.dtypes import processor_has_bfloat16, resolve

HELD_TO_AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
TIMED = """
import json, time, torch
from promptavideo.dtypes import processor_has_bfloat16
torch.set_num_threads(1)
def seconds(dtype):
    a = torch.randn(384, 384).to(dtype)
    times = []
    for _ in range(4):
        began = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - began)
    return min(times)
print(json.dumps([processor_has_bfloat16(), seconds(torch.bfloat16) / seconds(torch.float32)]))
"""


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    processor_has_bfloat16.cache_clear()
    yield
    processor_has_bfloat16.cache_clear()


def stub(monkeypatch: pytest.MonkeyPatch, onednn: bool = True, mkldnn: bool = True, **instructions: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: mkldnn)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn)


@pytest.mark.parametrize("name", ["amx_bf16", "avx512_bf16", "bf16", "sve_bf16"])
def test_auto_is_bfloat16_with_any_instructions_for_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    stub(monkeypatch, avx2=True, **{name: True})
    assert resolve("auto", "cpu", "x") == "bfloat16"


def test_auto_is_float32_without_the_instructions_or_without_their_use(monkeypatch: pytest.MonkeyPatch) -> None:
    for settings in (
        {"avx2": True, "avx512_f": True, "avx512_bf16": False},  # AVX-512 alone emulates
        {"avx512_bf16": True, "onednn": False},  # held to older ones by the environment
        {"bf16": True, "mkldnn": False},  # a build of torch that has nothing to use them
        {},
    ):
        stub(monkeypatch, **settings)
        processor_has_bfloat16.cache_clear()
        assert resolve("auto", "cpu", "x") == "float32", settings


@pytest.mark.parametrize("native", [True, False])
def test_auto_on_a_gpu_asks_the_gpu(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    stub(monkeypatch)
    asked: list[bool] = []
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: asked.append(including_emulation) or native
    )
    assert resolve("auto", "cuda", "x") == ("bfloat16" if native else "float32")
    assert asked == [False]


def test_for_real_what_auto_takes_is_the_faster_one() -> None:
    """In processes of their own: as this machine is, and held to AVX2, where bfloat16 is emulated."""
    found = {}
    for name, more in (("here", {}), ("held", HELD_TO_AVX2)):
        answer = subprocess.run(
            [sys.executable, "-c", TIMED], capture_output=True, text=True, check=True, env=os.environ | more
        )
        found[name] = json.loads(answer.stdout)
    assert found["held"][0] is False
    for native, times_as_long in found.values():
        assert times_as_long < 1 if native else times_as_long > 1


def test_an_explicit_dtype_is_obeyed_and_bfloat16_warns_where_it_is_emulated(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stub(monkeypatch)
    with caplog.at_level(logging.WARNING):
        assert [resolve(dtype, "cpu", "booster") for dtype in ("float32", "float16", "bfloat16")] == [
            "float32", "float16", "bfloat16",
        ]  # fmt: skip
    (warning,) = caplog.messages
    assert warning.startswith("booster: dtype bfloat16 is obeyed") and "40 times as long" in warning
    assert "dtype: auto" in warning


def test_the_warning_comes_once_a_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    stub(monkeypatch)
    jobs = tuple(runs.Job(name, "film", ("mini", "evolution"), "filming", 1.0, 1, ()) for name in ("a", "b"))
    runs.begin(runs.Run(1, jobs), tmp_path / "run.json")
    monkeypatch.setenv(runs.VARIABLE, str(tmp_path / "run.json"))
    for name in ("a", "b"):
        with runs.join(Path(name)), caplog.at_level(logging.WARNING):
            resolve("bfloat16", "cpu", "generator of mini")
    assert len(caplog.messages) == 1


def test_mixed_precision_only_where_there_are_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    for native in (True, False):
        processor_has_bfloat16.cache_clear()
        stub(monkeypatch, avx512_bf16=native)
        with dtypes.autocast("cpu"):
            assert torch.is_autocast_enabled("cpu") is native
