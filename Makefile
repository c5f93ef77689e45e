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

.PHONY: help install reproduce test lint lab bench clean

help:
	@echo "make reproduce [PRESET=quick] [CRYSTALS=...]  run every notebook, figures/<preset>/ holds the outcome"
	@echo "make test                                    run the checks and the tests"
	@echo "make lab                                     open the notebooks in JupyterLab"
	@echo "make bench                                   time the simulation against py4DSTEM"
	@echo "make clean [PRESET=quick]                    forget the tables and models of a run"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "Error: $(PYTHON) is not Python 3.11; name one with PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

install: $(STAMP)

reproduce: $(STAMP)
	$(BIN)/python -m ediff_utils reproduce --preset '$(PRESET)' $(if $(CRYSTALS),--crystals '$(CRYSTALS)') $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lab: $(STAMP)
	$(BIN)/jupyter lab --notebook-dir notebooks $(ARGS)

bench: $(STAMP)
	$(BIN)/python benchmarks/bloch.py $(if $(CRYSTALS),--crystals '$(CRYSTALS)')

clean:
	rm -rf 'data/runs/$(PRESET)'
