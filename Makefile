# `make reproduce` and `make test` set everything up in .venv; nothing else on the machine is touched.
PYTHON ?= python3
CORES ?= all
export PYTHONPATH := $(CURDIR)
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: reproduce test check benchmark dag

reproduce: .venv/run
	snakemake --cores $(CORES) --quiet rules

test: .venv/dev
	pytest

check: .venv/dev
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile rules
	snakemake --lint
	mypy

benchmark: .venv/run
	snakemake --cores $(CORES) --quiet rules models
	python scripts/benchmark.py

dag: .venv/run
	snakemake --rulegraph mermaid-js > docs/dag.mmd

# torch comes first and alone: its CPU build has the same version as the CUDA build, and pip's index decides.
.venv/run: requirements.txt
	$(PYTHON) -m venv .venv
	pip install --quiet --disable-pip-version-check $$(grep ^torch== requirements.txt)
	pip install --quiet --disable-pip-version-check --no-deps -r requirements.txt
	touch $@

.venv/dev: .venv/run requirements-dev.txt
	pip install --quiet --disable-pip-version-check --no-deps -r requirements-dev.txt
	touch $@
