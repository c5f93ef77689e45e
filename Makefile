# make reproduce | make test | make lab        each sets up its own environment in .venv
PRESET ?= quick
CRYSTALS ?=
# Further arguments of `python -m ediff_utils reproduce`, such as '-p max_crystals 500'
ARGS ?=
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Forests and worker processes use the cores; BLAS threads would only compete with them.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: help install reproduce dataset test test-wheel lint lab bench bench-abtem bench-quantem bench-grower bench-scan clean

help:
	@echo "make reproduce [PRESET=quick] [CRYSTALS=...]  run every notebook, data/runs/<preset>/ holds the outcome"
	@echo "make dataset PRESET=grid CRYSTALS=...        simulate patterns by the hundred a crystal (or PRESET=random)"
	@echo "make test                                    run the checks and the tests"
	@echo "make test-wheel                              build the wheel and test it outside the checkout"
	@echo "make lab                                     open the notebooks in JupyterLab"
	@echo "make bench [CRYSTALS=...]                    time the simulation against py4DSTEM, abTEM and quantem"
	@echo "make bench-grower PRESET=quick               time trees of all features beside scikit-learn's"
	@echo "make bench-scan PRESET=quick                 Bragg detection beside py4DSTEM's; from Bragg lists to maps"
	@echo "make clean [PRESET=quick]                    forget the tables and models of a run"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "Error: $(PYTHON) is not Python 3.11; name one with PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[reproduce,test]'
	@touch $@

install: $(STAMP)

reproduce: $(STAMP)
	$(BIN)/python -m ediff_utils reproduce --preset '$(PRESET)' $(if $(CRYSTALS),--crystals '$(CRYSTALS)') $(ARGS)

dataset: $(STAMP)
	$(BIN)/python -m ediff_utils dataset --preset '$(PRESET)' $(if $(CRYSTALS),--crystals '$(CRYSTALS)') $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# In an environment of its own, on the newest Python that is here.
test-wheel:
	.ci/wheel

lab: $(STAMP)
	$(BIN)/jupyter lab --notebook-dir notebooks $(ARGS)

# abTEM and quantem need numpy 2, py4DSTEM numpy 1: each of the former in an environment of its own.
BENCH_VENV := .venv-bench
BENCH_STAMPS := $(BENCH_VENV)/abtem/.installed $(BENCH_VENV)/quantem/.installed

$(BENCH_STAMPS): $(BENCH_VENV)/%/.installed: benchmarks/%.txt
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

bench-abtem: $(BENCH_VENV)/abtem/.installed

bench-quantem: $(BENCH_VENV)/quantem/.installed

bench: $(STAMP) $(BENCH_STAMPS)
	$(BIN)/python benchmarks/bloch.py $(if $(CRYSTALS),--crystals '$(CRYSTALS)') --environments '$(BENCH_VENV)'
	$(BIN)/python benchmarks/scaling.py $(if $(CRYSTALS),--crystals '$(CRYSTALS)')
	$(BIN)/python benchmarks/reductions.py $(if $(CRYSTALS),--crystals '$(CRYSTALS)')
	$(BIN)/python benchmarks/summary.py

bench-grower: $(STAMP)
	$(BIN)/python benchmarks/grower.py --run '$(PRESET)' $(ARGS)

bench-scan: $(STAMP)
	$(BIN)/python benchmarks/bragg.py
	$(BIN)/python benchmarks/spots.py
	$(BIN)/python benchmarks/scan.py --run '$(PRESET)' $(ARGS)

clean:
	rm -rf 'data/runs/$(PRESET)'
