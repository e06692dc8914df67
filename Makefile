# Each target makes its own virtual environment on first use; the README names the two to begin with.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PEERS  ?= .peers
CONSUMERS ?= .consumers
BENCH  ?=
# Two test processes, a file to each at a time: models that a file makes are made once. In the order
# of names the many small files of tests/unit come last, and both processes end at about one time.
SPREAD ?= --numprocesses 2 --dist loadfile --no-loadscope-reorder

# The tests that can do without the CPU.
ON_DEVICE := tests/integration/test_device.py tests/contracts/test_language_models.py \
	tests/unit/models/test_gradients.py

.PHONY: help install demo test test-all test-device lint soak bench bench-peers consumers \
	test-consumers clean

help:
	@echo "make demo      run the main job on the embedded model (installs first)"
	@echo "make test      run the tests (installs first)"
	@echo "make test-all  the same with the slow tests and branch coverage"
	@echo "make test-device  what runs a model, where AUTOPROMPT_TEST_DEVICE says (default: cuda)"
	@echo "make lint      ruff, mypy --strict, import-linter"
	@echo "make soak      fuzz the readers; kill, starve and share searches, in a short form"
	@echo "make bench     measure the claims of speed, write experiments/bench/RESULTS.md"
	@echo "               (options: make bench BENCH='--jobs J1 --peers $(PEERS)')"
	@echo "make bench-peers  make $(PEERS), where make bench runs other projects"
	@echo "make test-consumers  the exports against the programs that read them, in $(CONSUMERS)"
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
	$(BIN)/python -m pytest -m "not slow" $(SPREAD)

test-all: install
	$(BIN)/python -m pytest $(SPREAD) --cov --cov-report=term

test-device: install
	AUTOPROMPT_TEST_DEVICE=$${AUTOPROMPT_TEST_DEVICE:-cuda} $(BIN)/python -m pytest $(ON_DEVICE)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

soak: install
	$(BIN)/python -m experiments.soak.fuzz
	$(BIN)/python -m experiments.soak.run --short

bench: install
	$(BIN)/python -m experiments.bench.run $(BENCH)

bench-peers: $(PEERS)/.installed

$(PEERS)/.installed: experiments/bench/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --requirement $<
	$(PEERS)/bin/pip install --quiet --no-deps openprompt==1.0.1
	@touch $@

# Where a consumer cannot be had (no old Python, no network to npm), its tests are skipped.
consumers: $(CONSUMERS)/.installed

$(CONSUMERS)/.installed: $(wildcard tests/consumers/requirements-*.txt) tests/consumers/install.sh
	PYTHON=$(PYTHON) tests/consumers/install.sh $(CONSUMERS)
	@touch $@

test-consumers: install consumers
	AUTOPROMPT_CONSUMERS=$(abspath $(CONSUMERS)) $(BIN)/python -m pytest tests/consumers -rs

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage
