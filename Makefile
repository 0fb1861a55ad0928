# Everything a newcomer needs: `make run` and `make test`. `make help` lists the rest.

VENV ?= .venv
PYTHON ?= python3
CORES ?= all
# An overlay of workflow/presets, by name: make run PRESET=quick
PRESET ?=
PRESETS := $(basename $(notdir $(wildcard workflow/presets/*.yaml)))
SHARED := $(or $(EHR_ATTACK_SHARED),../shared)
# Sets of the PhysioNet 2012 challenge to download, and where to
SETS ?= a
PHYSIONET2012_DATA := data/physionet2012
# Tests side by side, a file at a time: as many as there are processors, but no more than 4, since each makes runs of its own
WORKERS ?= logical
# The mutants to make, by name: MUTANTS="'ehr_attack.folds*'"; all of those that pyproject.toml asks for, if none is named
MUTANTS ?=
MUTATION := .mutation
# How many times the benchmark of extraction replicates the demo
COPIES ?= 50
# How often the benchmark of training measures each contender
ROUNDS ?= 7
# How many stays and lambdas the benchmark of the attack has
STAYS ?= 256
LAMBDAS ?= 25
# How many stays the benchmark of susceptibility analyses
RUN_STAYS ?= 60000
BENCH_TOOLS := benchmarks/data/attack-tools
# Another index to take torch from as well, for example that of a CUDA release: make run TORCH_INDEX=<address>
TORCH_INDEX ?=
CONSTRAINTS ?= constraints.txt

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES) --quiet reason host
TORCH_PIN := $(shell sed -n 's/^ *"\(torch==[0-9.]*\)",$$/\1/p' pyproject.toml)

.DEFAULT_GOAL := help

.PHONY: help
help:  ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  make %-24s %s\n", $$1, $$2}'
	@echo "  variables: CORES=$(CORES) PRESET=$(PRESET) PYTHON=$(PYTHON) VENV=$(VENV) TORCH_INDEX=$(TORCH_INDEX)"

.PHONY: run
run: $(VENV)/.installed-run  ## set up, then the whole pipeline on the synthetic cohort: results/synthetic/report/index.html
	$(if $(filter-out $(PRESETS),$(PRESET)),$(error PRESET=$(PRESET): no such file in workflow/presets; expected one of: $(PRESETS)))
	$(SNAKEMAKE) $(if $(PRESET),--configfile workflow/presets/$(PRESET).yaml,)

.PHONY: test
test: $(VENV)/.installed-test  ## set up, then all tests (WORKERS=<number> side by side, PYTEST_ARGS=<what pytest takes>)
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

.PHONY: coverage
coverage: $(VENV)/.installed-test  ## all tests, and how much of the library they run, branches too: fails under 90 %
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest --numprocesses $(WORKERS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)
	find . -maxdepth 1 -name '.coverage.*' -empty -delete  # of a process whose files may not grow
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

.PHONY: mutation
mutation: $(VENV)/.installed-mutation  ## change the code of features, folds, susceptibility and attack, bit by bit: do tests fail? (MUTANTS=<names>; hours)
	mkdir -p $(MUTATION) && cd $(MUTATION) && rm -rf src tests workflow
	cp -r scripts $(MUTATION)/src
	cp -r tests workflow config.yaml pyproject.toml $(MUTATION)
	cd $(MUTATION) && $(abspath $(BIN))/python -m mutmut run $(MUTANTS)
	cd $(MUTATION) && $(abspath $(BIN))/python -m mutmut results

.PHONY: nightly
nightly: demo-physionet2012 zoo-physionet2012 attacks-physionet2012 $(VENV)/.installed-test  ## the full runs on PhysioNet 2012, and what they must show
	$(BIN)/python -m pytest tests/nightly $(PYTEST_ARGS)

.PHONY: lint
lint: $(VENV)/.installed-lint  ## ruff, mypy --strict, snakefmt --check, snakemake --lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

.PHONY: format
format: $(VENV)/.installed-lint  ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

.PHONY: demo-mimic3
demo-mimic3: export MIMIC3_DIR := $(or $(MIMIC3_DIR),$(SHARED)/data/mimiciii-demo-1.4)
demo-mimic3: $(VENV)/.installed-run  ## the pipeline on the MIMIC-III demo (MIMIC3_DIR=<folder of CSV.gz>): results/mimic3
	$(SNAKEMAKE) --configfile workflow/presets/mimic3.yaml

.PHONY: demo-mimic4
demo-mimic4: $(VENV)/.installed-run  ## the pipeline on MIMIC-IV (MIMIC4_DIR=<folder of hosp and icu>): results/mimic4
	$(SNAKEMAKE) --configfile workflow/presets/mimic4.yaml

.PHONY: demo-physionet2012
demo-physionet2012: export PHYSIONET2012_DIR := $(or $(PHYSIONET2012_DIR),$(firstword $(wildcard $(SHARED)/data/physionet2012) $(PHYSIONET2012_DATA)))
demo-physionet2012: $(VENV)/.installed-run  ## the pipeline on PhysioNet 2012 (PHYSIONET2012_DIR=<folder of sets>): results/physionet2012
	$(SNAKEMAKE) --configfile workflow/presets/physionet2012.yaml

.PHONY: zoo-physionet2012
zoo-physionet2012: export PHYSIONET2012_DIR := $(or $(PHYSIONET2012_DIR),$(firstword $(wildcard $(SHARED)/data/physionet2012) $(PHYSIONET2012_DATA)))
zoo-physionet2012: $(VENV)/.installed-run  ## train and judge every model on PhysioNet 2012, 18 variables and all; no attacks: results/zoo_*/models
	for profile in clinical all; do \
	  $(SNAKEMAKE) --configfile workflow/presets/physionet2012.yaml workflow/presets/zoo.yaml --until evaluate \
	    --config run="{name: zoo_$$profile}" source="{profile: $$profile}" || exit 1; \
	done

.PHONY: attacks-physionet2012
attacks-physionet2012: export PHYSIONET2012_DIR := $(or $(PHYSIONET2012_DIR),$(firstword $(wildcard $(SHARED)/data/physionet2012) $(PHYSIONET2012_DATA)))
attacks-physionet2012: $(VENV)/.installed-run  ## every attack mode on PhysioNet 2012, some with twice the steps: results/attacks*
	$(SNAKEMAKE) --configfile workflow/presets/physionet2012.yaml workflow/presets/attacks.yaml --config run="{name: attacks}"
	$(SNAKEMAKE) --configfile workflow/presets/physionet2012.yaml workflow/presets/attacks_longer.yaml --until merge_attack \
	  --config run="{name: attacks_longer}"

.PHONY: results-physionet2012
results-physionet2012: export PHYSIONET2012_DIR := $(or $(PHYSIONET2012_DIR),$(firstword $(wildcard $(SHARED)/data/physionet2012) $(PHYSIONET2012_DATA)))
results-physionet2012: $(VENV)/.installed-run  ## three models and seeds on PhysioNet 2012, and the page of their results: docs/results-physionet2012.md
	$(SNAKEMAKE) --configfile workflow/presets/physionet2012.yaml workflow/presets/published.yaml
	$(BIN)/ehr-attack publish results/published --to docs/results-physionet2012.md

.PHONY: data-physionet2012
data-physionet2012: $(VENV)/.installed-run  ## download sets of PhysioNet 2012 (SETS="a b c") into data/physionet2012; resumes
	$(BIN)/ehr-attack download-physionet2012 --sets $(SETS) --to $(or $(PHYSIONET2012_DIR),$(PHYSIONET2012_DATA))

.PHONY: docs
docs: $(VENV)/.installed-run  ## make anew what is made from the code: docs/config.md (keys of config.yaml), the rule graph in README.md
	$(BIN)/ehr-attack config > docs/config.md.new && mv docs/config.md.new docs/config.md
	$(BIN)/snakemake --rulegraph mermaid-js 2>/dev/null | $(BIN)/python docs/rule_graph.py README.md

.PHONY: estimate
estimate: export PHYSIONET2012_DIR := $(or $(PHYSIONET2012_DIR),$(firstword $(wildcard $(SHARED)/data/physionet2012) $(PHYSIONET2012_DATA)))
estimate: $(VENV)/.installed-run  ## what a run will cost, from a short calibration (PRESET=...)
	$(BIN)/ehr-attack estimate $(if $(PRESET),--configfile workflow/presets/$(PRESET).yaml,)

.PHONY: bench-extract
bench-extract: $(VENV)/.installed-bench  ## measure extraction on the MIMIC-III demo x COPIES (50), into benchmarks/ (0.6 GB of disk)
	PYTHONPATH=scripts $(BIN)/python -m benchmarks.extract --copies $(COPIES)

.PHONY: bench-train
bench-train: $(VENV)/.installed-run  ## measure training beside the usual DataLoader loop and the matrix product, into benchmarks/
	PYTHONPATH=scripts $(BIN)/python -m benchmarks.train --rounds $(ROUNDS)

.PHONY: bench-attack
bench-attack: $(VENV)/.installed-run $(BENCH_TOOLS)/.installed  ## measure the attack beside the published algorithm, ART and foolbox, into benchmarks/ (STAYS, LAMBDAS)
	PYTHONPATH=scripts $(BIN)/python -m benchmarks.attack --stays $(STAYS) --lambdas $(LAMBDAS) --tools $(BENCH_TOOLS)/bin/python --shared $(SHARED)

.PHONY: bench-susceptibility
bench-susceptibility: $(VENV)/.installed-run  ## measure the analysis of RUN_STAYS (60000) made-up stays, into benchmarks/ (3 GB of disk)
	PYTHONPATH=scripts $(BIN)/python -m benchmarks.susceptibility --stays $(RUN_STAYS)

.PHONY: bench-workflow
bench-workflow: $(VENV)/.installed-run  ## measure the workflow beside the library in one process, and a dry run, into benchmarks/ (ROUNDS)
	PYTHONPATH=scripts $(BIN)/python -m benchmarks.workflow --rounds $(ROUNDS)

# Other attack libraries, apart from the project's own environment. Without them the benchmark goes on and says so.
$(BENCH_TOOLS)/.installed: benchmarks/requirements-attack.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing ART and foolbox into $(BENCH_TOOLS)"
	@mkdir -p $(@D)
	@if $(BIN)/python -m venv $(BENCH_TOOLS) && \
	  $(BENCH_TOOLS)/bin/python -m pip --disable-pip-version-check install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX),) $(TORCH_PIN) && \
	  $(BENCH_TOOLS)/bin/python -m pip --disable-pip-version-check install --quiet --requirement $<; \
	then touch $@; else echo "They could not be installed; the benchmark goes on without them."; fi

.PHONY: clean
clean:  ## remove the virtual environment (results stay)
	rm -rf $(VENV)

# A stamp a kind of installation: a second call reuses what is there, an edit of the requirements installs anew.
$(VENV)/.installed-run: EXTRAS :=
$(VENV)/.installed-test: EXTRAS := [test]
$(VENV)/.installed-lint: EXTRAS := [lint]
$(VENV)/.installed-bench: EXTRAS := [bench]
$(VENV)/.installed-mutation: EXTRAS := [test,mutation]
$(VENV)/.installed-test $(VENV)/.installed-lint $(VENV)/.installed-bench $(VENV)/.installed-mutation: $(VENV)/.installed-run

$(VENV)/.installed-%: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	@echo "Installing into $(VENV) (a few minutes the first time)"
	$(PIP) install --quiet --constraint $(CONSTRAINTS) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX),) $(TORCH_PIN)
	$(PIP) install --quiet --constraint $(CONSTRAINTS) --editable ".$(EXTRAS)"
	@touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Python 3.11 to 3.13 is needed, but $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "The virtual environment could not be made. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
