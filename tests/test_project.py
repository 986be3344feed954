"""What makes the project fit to be carried on: licence, citation, versions, checks before a commit."""

import hashlib
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import promptavideo

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_version_is_one() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "promptavideo.__version__"}
    newest = re.findall(r"^## \[(.+?)\] - (?:\d{4}-\d\d-\d\d|unreleased)$", CHANGELOG, re.MULTILINE)[0]
    assert promptavideo.__version__ == CITATION["version"] == newest


def test_every_entry_of_the_changelog_has_a_version_a_date_and_known_headings() -> None:
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - (\d{4}-\d\d-\d\d|unreleased)", head) for head in heads("## "))
    known = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(heads("### ")) <= known


def heads(mark: str) -> list[str]:
    return re.findall(rf"^{mark}(.+)$", CHANGELOG, re.MULTILINE)


def test_the_citation_names_this_software_and_the_paper() -> None:
    assert CITATION["cff-version"] == "1.2.0" and CITATION["type"] == "software"
    assert CITATION["message"] and CITATION["title"] and CITATION["authors"] == PROJECT["project"]["authors"]
    (paper,) = CITATION["references"]
    assert paper["type"] == "conference-paper" and paper["title"].startswith("Prompt-A-Video: ")
    assert len(paper["authors"]) == 12 and paper["authors"][0] == {"given-names": "Yatai", "family-names": "Ji"}
    assert {"type": "other", "value": "arXiv:2412.15156"} in paper["identifiers"]


def test_the_licence_is_apache_2() -> None:
    digest = hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest()
    # of the text as the Apache Software Foundation publishes it
    assert digest == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
    assert PROJECT["project"]["license"] == CITATION["license"] == "Apache-2.0"
    assert PROJECT["project"]["license-files"] == ["LICENSE"]


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_calls_a_part_of_make_check(hook: dict[str, object]) -> None:
    assert hook["language"] == "system" and hook["pass_filenames"] is False
    assert str(hook["entry"]).removeprefix("make ") in parts()


def test_every_part_of_make_check_is_a_hook() -> None:
    assert {f"make {part}" for part in parts()} == {hook["entry"] for hook in HOOKS}


def parts() -> list[str]:
    """What `make check` is made of; it has no commands of its own."""
    found = re.search(r"^check: (.+)\n\n", MAKEFILE, re.MULTILINE)
    assert found
    assert all(re.search(rf"^{part}: ", MAKEFILE, re.MULTILINE) for part in found[1].split())
    return found[1].split()
