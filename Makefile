# `make reproduce` and `make test` set everything up in .venv; nothing else on the machine is touched.
PYTHON ?= python3
CORES ?= all
export PYTHONPATH := $(CURDIR)
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: reproduce test test-slurm test-vbench check benchmark dag

reproduce: .venv/run .venv-vbench/run
	snakemake --cores $(CORES) --quiet rules

test: .venv/dev
	pytest

# Needs root: it installs Debian's Slurm where it is missing, starts it in a folder of its own and stops it again.
test-slurm: .venv/dev
	pytest tests/slurm

# The real vbench package, with random weights where it wants downloaded ones.
test-vbench: .venv/dev .venv-vbench/dev
	pytest tests/vbench_package

check: .venv/dev
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile rules
	snakemake --lint
	mypy

benchmark: .venv/run
	snakemake models --cores $(CORES) --quiet rules
	python scripts/benchmark.py

# Snakemake gives the edges in another order each time; sorted, the picture changes with the rules only.
dag: .venv/run
	{ printf '# The rules and what they wait for\n\nOne box a rule, each standing for all its jobs. Made by `make dag`.\n\n```mermaid\nflowchart TB\n'; \
	  snakemake --rulegraph mermaid-js | grep -e '\[' -e '-->' | LC_ALL=C sort; printf '```\n'; } > docs/dag.md

# torch comes first and alone: its CPU build has the same version as the CUDA build, and pip's index decides.
.venv/run: requirements.txt
	$(PYTHON) -m venv .venv
	pip install --quiet --disable-pip-version-check $$(grep ^torch== requirements.txt)
	pip install --quiet --disable-pip-version-check --no-deps -r requirements.txt
	touch $@

.venv/dev: .venv/run requirements-dev.txt
	pip install --quiet --disable-pip-version-check --no-deps -r requirements-dev.txt
	touch $@

# VBench wants old versions of its libraries. `run` holds what it needs without downloaded networks, `dev` all of it.
.venv-vbench/run: requirements.txt requirements-vbench.txt
	$(PYTHON) -m venv .venv-vbench
	.venv-vbench/bin/pip install --quiet --disable-pip-version-check $$(grep ^torch== requirements.txt)
	.venv-vbench/bin/pip install --quiet --disable-pip-version-check --no-deps -r requirements-vbench.txt
	touch $@

.venv-vbench/dev: .venv-vbench/run requirements-vbench-dev.txt
	.venv-vbench/bin/pip install --quiet --disable-pip-version-check --no-deps -r requirements-vbench-dev.txt
	touch $@
