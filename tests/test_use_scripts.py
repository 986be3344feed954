"""The scripts of docs/use-a-booster.md, run as they stand with tiny models and stand-ins for servers."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from makers import ROOT
from tiny_pipelines import tiny_wan
from use_boosters import finished_run

from promptavideo.use import source
from promptavideo.use.export import export
from promptavideo.video import read_video

DOCUMENT = (ROOT / "docs/use-a-booster.md").read_text(encoding="utf-8")
SCRIPTS = dict(re.findall(r"```python\n# ([\w.]+), run by itself\n(.*?)```", DOCUMENT, re.DOTALL))


def run(folder: Path, script: str, *arguments: str) -> str:
    command = [sys.executable, "-c", script, *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_every_script_is_tried() -> None:
    assert SCRIPTS.keys() == {"film.py", "comfy.py"}


def test_five_lines_film_a_boosted_prompt(tmp_path: Path) -> None:
    folder = finished_run(tmp_path / "run")
    export(source.find(str(folder / "results/mini-t2v/boosters/dpo-2")), tmp_path / "my/booster")
    tiny_wan(tmp_path / "wan")
    script = SCRIPTS["film.py"]
    assert len([line for line in script.splitlines() if line]) == 5
    small = script.replace("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "./wan").replace(
        "(text)", "(text, height=32, width=32, num_frames=5, num_inference_steps=1, max_sequence_length=8)"
    )
    assert small.count("num_frames") == 1
    # The real one wants a package with a program in it.
    (tmp_path / "writer.py").write_text(
        "import numpy\nfrom pathlib import Path\nfrom promptavideo.video import Clip, write_video\n"
        "def export_to_video(frames, path, fps):\n"
        "    write_video(Clip((255 * frames).astype(numpy.uint8), fps), Path(path), crf=20)\n"
    )
    small = small.replace("diffusers.utils.", "").replace("import diffusers", "from writer import *\nimport diffusers")
    run(tmp_path, small)
    assert len(read_video(tmp_path / "boosted.mp4").frames) == 5


class _Both(BaseHTTPRequestHandler):
    """A chat server and ComfyUI."""

    asked: dict[str, Any]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked[self.path] = body
        chat = {"choices": [{"message": {"role": "assistant", "content": "a vivid red ball"}}]}
        said = json.dumps(chat if "chat" in self.path else {"prompt_id": "some-id"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def servers() -> Iterator[str]:
    _Both.asked = {}
    with ThreadingHTTPServer(("127.0.0.1", 0), _Both) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_boosted_prompt_goes_into_a_workflow_of_comfyui(tmp_path: Path, servers: str) -> None:
    graph = {"6": {"class_type": "CLIPTextEncode", "inputs": {"text": "old", "clip": ["1", 0]}}}
    (tmp_path / "workflow.json").write_text(json.dumps(graph))
    said = run(tmp_path, SCRIPTS["comfy.py"], servers, servers, "workflow.json", "6", "a red ball")
    assert said.strip() == "some-id"
    assert _Both.asked["/v1/chat/completions"]["messages"] == [{"role": "user", "content": "a red ball"}]
    graph["6"]["inputs"]["text"] = "a vivid red ball"
    assert _Both.asked["/prompt"] == {"prompt": graph}
