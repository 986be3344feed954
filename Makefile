# `make reproduce` and `make test` set everything up in .venv; nothing else on the machine is touched.
# The first of these that the pins are for; `make PYTHON=...` names another.
PYTHON ?= $(or $(shell for name in python3 python3.13 python3.12 python3.11; do \
  $$name scripts/check_python.py 2> /dev/null && echo $$name && break; done),python3)
CORES ?= all
WORKERS ?= 2
export PYTHONPATH := $(CURDIR)
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# An environment holds its own absolute path, so in a clone that was renamed or copied it is made anew.
MOVED := $(shell for name in .venv .venv-vbench; do test ! -f $$name/pyvenv.cfg || \
  grep -qF -e " $(CURDIR)/$$name" -e " $$(cd $$name && pwd -P)" $$name/pyvenv.cfg || echo $$name/run; done)

.PHONY: demo reproduce images studies study-server test test-slurm test-vbench test-browser rehearsal check check-style check-rules check-types check-pins \
  benchmark dag reference vbench-if-possible

reproduce: .venv/run vbench-if-possible
	snakemake --cores $(CORES) --quiet rules
	@python scripts/headline.py

# On a generator of images, with the boosters of `make reproduce` beside those that learn here.
images: .venv/run
	snakemake hpsv2 mini-t2i --configfile studies/images.yaml --cores $(CORES) --quiet rules
	@ls results/tables/hpsv2.md results/mini-t2i/tables/*.md

# Each goes on from what `make reproduce` made, and from what the one before it did.
studies: images
	snakemake convergence examples --configfile studies/convergence.yaml --cores $(CORES) --quiet rules
	snakemake negative_prompts --configfile studies/negative_prompts.yaml --cores $(CORES) --quiet rules
	snakemake transfer --configfile studies/transfer.yaml --cores $(CORES) --quiet rules
	@ls results/tables/convergence.md results/tables/negative_prompts.md results/tables/transfer.md \
	  results/*/examples/evolution.html

# Files go to workers whole, as their tests share fixtures; each worker computes on one core. `make WORKERS=1 test`, or
# more, where there is memory: each takes up to 2 GB.
test: .venv/dev
	pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# Type a prompt, see both videos; `make PORT=9000 demo`.
demo: PORT ?= 7860
demo: .venv/demo
	python -m promptavideo.use.main demo --port $(PORT)

# The user study that `snakemake study` made; `make PORT=9000 study-server`.
study-server: PORT ?= 8000
study-server: .venv/run
	python scripts/study_server.py --port $(PORT)

# Needs root: it installs Debian's Slurm where it is missing, starts it in a folder of its own and stops it again.
test-slurm: .venv/dev
	pytest tests/slurm

# The real vbench package, with random weights where it wants downloaded ones.
test-vbench: .venv/dev .venv-vbench/dev
	pytest tests/vbench_package

# Pages in a real browser, which needs root to be installed where it is missing.
test-browser: .venv/dev
	scripts/install_browser.sh
	pytest tests/browser

# paper.yaml on tiny random models of its classes, from captions to tables.
rehearsal: .venv/dev .venv-vbench/dev
	pytest tests/rehearsal

# .pre-commit-config.yaml calls the parts.
check: check-style check-rules check-types

check-style: .venv/dev
	ruff check .
	ruff format --check .

check-rules: .venv/dev
	snakefmt --check Snakefile rules
	snakemake --lint

check-types: .venv/dev
	mypy

# Asks the package index whether every pin has a wheel for every supported Python and platform.
check-pins: .venv/run
	python scripts/check_pins.py

benchmark: .venv/run
	snakemake models --cores $(CORES) --quiet rules
	python scripts/benchmark.py

# Snakemake gives the edges in another order each time; sorted, the picture changes with the rules only.
dag: .venv/run
	set -e; picture=$$(snakemake --rulegraph mermaid-js); \
	{ printf '# The rules and what they wait for\n\nOne box a rule, each standing for all its jobs. Made by `make dag`.\n\n```mermaid\nflowchart TB\n'; \
	  echo "$$picture" | grep -e '\[' -e '-->' | LC_ALL=C sort; printf '```\n'; } > docs/dag.md

# From the sections of the configuration.
reference: .venv/run
	python scripts/reference.py

.PHONY: $(MOVED)

# torch comes first and alone: its CPU build has the same version as the CUDA build, and pip's index decides. The project
# itself comes last, for the command `promptavideo`.
.venv/run: requirements.txt
	@$(PYTHON) scripts/check_python.py
	$(PYTHON) -m venv$(if $(filter $@,$(MOVED)), --clear) .venv
	pip install --quiet --disable-pip-version-check $$(grep ^torch== requirements.txt)
	pip install --quiet --disable-pip-version-check --no-deps -r requirements.txt
	pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

.venv/demo: .venv/run requirements-demo.txt
	pip install --quiet --disable-pip-version-check --no-deps -r requirements-demo.txt
	touch $@

.venv/dev: .venv/demo requirements-dev.txt
	pip install --quiet --disable-pip-version-check --no-deps -r requirements-dev.txt
	touch $@

# VBench wants old versions of its libraries. `run` holds what it needs without downloaded networks, `dev` all of it.
.venv-vbench/run: requirements.txt requirements-vbench.txt
	@$(PYTHON) scripts/check_python.py
	$(PYTHON) -m venv$(if $(filter $@,$(MOVED)), --clear) .venv-vbench
	.venv-vbench/bin/pip install --quiet --disable-pip-version-check --no-deps -r requirements-vbench.txt
	.venv-vbench/bin/pip install --quiet --disable-pip-version-check $$(grep ^torch== requirements.txt)
	.venv-vbench/bin/python -W ignore -c 'import vbench'
	touch $@

# A laptop's run goes on where that cannot be made: the mark stands for it, and the table says so (docs/vbench.md).
# MAKE_COMMAND, since a line with MAKE would be carried out under `make -n` too.
vbench-if-possible: .venv/run
	@$(MAKE_COMMAND) --no-print-directory .venv-vbench/run || { rm -rf .venv-vbench && mkdir .venv-vbench && \
	  touch .venv-vbench/left-out && echo 'VBench has no environment here, so this run leaves it out.' >&2; }

.venv-vbench/dev: .venv-vbench/run requirements-vbench-dev.txt
	.venv-vbench/bin/pip install --quiet --disable-pip-version-check --no-deps -r requirements-vbench-dev.txt
	touch $@
