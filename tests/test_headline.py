import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from makers import FAST, PAPER, flat_scores

from promptavideo.errors import InputError
from promptavideo.headline import of_results
from promptavideo.provenance import remarks
from promptavideo.tables import Arm, footnotes, videoscore_table, with_paper_rows, write

ROOT = Path(__file__).parents[1]


def results(folder: Path, scale: str, remarks: Sequence[str] = ()) -> Path:
    """Results of two generators, of which one has no contact sheet."""
    original, refined = flat_scores([2.0, 2.5, 3.0, 3.5]), flat_scores([2.25, 2.75, 3.5, 3.5])
    alone = flat_scores([2.5])
    arms = [
        Arm("mini-t2v", "heldout", "original", original),
        Arm("mini-t2v", "heldout", "dpo-2", refined),
        Arm("other", "mine", "original", alone),
    ]
    table = with_paper_rows(videoscore_table(arms, FAST), PAPER)
    write(table, folder / "tables/videoscore", "Title", footnotes(table, scale, remarks))
    (folder / "mini-t2v/figures").mkdir(parents=True)
    (folder / "mini-t2v/figures/contact_sheet.png").touch()
    (folder / "report.html").touch()
    return folder


def test_the_headline_is_the_gains_and_where_to_see_more(tmp_path: Path) -> None:
    text = of_results(results(tmp_path / "results", "laptop"))
    table = pd.read_csv(tmp_path / "results/tables/videoscore.csv").set_index(["set", "refiner"])
    low, high = table.loc[("heldout", "dpo-2"), ["gain_ci_low", "gain_ci_high"]]
    lines = text.splitlines()
    assert lines[0] == "mini-t2v on heldout: avg of the five VideoScore dimensions (0-5)"
    assert lines[2].split() == ["refiner", "avg", "gain", "95", "%", "interval", "of", "the", "gain"]
    assert lines[3:5] == ["  original  2.750", f"  dpo-2     3.000  +0.250  {low:+.3f} to {high:+.3f}"]
    assert 0 <= low < 0.25 < high
    assert "other on mine: " in text and "Sora" not in text, "the paper's rows are left out"
    assert "not comparable with the" in text
    assert lines[-2:] == [
        f"report:                    {tmp_path}/results/report.html",
        f"contact sheet of mini-t2v: {tmp_path}/results/mini-t2v/figures/contact_sheet.png",
    ]
    assert all(len(line) <= 80 for line in lines if str(tmp_path) not in line)


def test_real_models_are_compared_without_the_warning(tmp_path: Path) -> None:
    assert "comparable" not in of_results(results(tmp_path, "paper"))


def test_stand_ins_are_told_at_the_papers_scale_too(tmp_path: Path) -> None:
    row = {"generator": "big", "scores": {"models": [{"name": "cogvideox-5b", "kind": "local", "source": "/data/x"}]}}
    text = of_results(results(tmp_path, "paper", remarks([row], ["THUDM/CogVideoX-5b"])))
    assert "(perhaps stand-ins): cogvideox-5b (from this machine)." in " ".join(text.split())


def test_the_command_prints_it_and_names_a_missing_table(tmp_path: Path) -> None:
    folder = results(tmp_path / "results", "laptop")

    def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "scripts/headline.py"), *arguments]
        return subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)

    assert ran("--results", str(folder)).stdout == of_results(folder) + "\n"
    missing = ran("--results", str(tmp_path))
    assert missing.returncode == 1 and "tables/videoscore.csv: there is no VideoScore table" in missing.stderr
    with pytest.raises(InputError):
        of_results(tmp_path)
