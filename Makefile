# Each target makes its own virtual environment on first use; the README names the two to begin with.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help install demo test test-all lint bench clean

help:
	@echo "make demo      run the main job on the embedded model (installs first)"
	@echo "make test      run the tests with branch coverage (installs first)"
	@echo "make test-all  the same with the slow tests"
	@echo "make lint      ruff, mypy --strict, import-linter"
	@echo "make bench     measure the claims of speed, write experiments/bench/RESULTS.md"
	@echo "make install   only make $(VENV)"
	@echo "make clean     remove $(VENV) and caches"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip --constraint constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

demo: install
	$(BIN)/autoprompt demo

test: install
	$(BIN)/python -m pytest -m "not slow" --cov --cov-report=term

test-all: install
	$(BIN)/python -m pytest --cov --cov-report=term

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	$(BIN)/python -m experiments.bench.run

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage
