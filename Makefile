# make demo    set up, and answer a question from the model that ships with minichat
# make test    set up, and run the tests
# make check   the tests, unless they have just passed, ruff and mypy
# make bench   measure, side by side with llama.cpp's own tools: some minutes, and 4 GB of disk for as long
# make oracle  compare templates and token ids with mistral-common at length: some minutes
# make fmt     format the code
#
# llama.cpp is compiled once, in about five minutes; pip keeps the result for other clones. On Macs it gets Metal by
# itself; for an NVIDIA card: make demo CMAKE_ARGS=-DGGML_CUDA=on (if pip has kept a build without: PIP_FLAGS=--no-cache-dir too).

PYTHON ?= python3
PIP_FLAGS ?=
BIN := .venv/bin
# setuptools warns of folders named like packages, which is what an editable clone is.
PIP := PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS)

.PHONY: demo test check bench oracle fmt

demo: .venv/installed
	$(BIN)/minichat run demo "What is minichat?" </dev/null

test: .venv/installed-dev
	@rm -f .venv/tested
	$(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder
	@touch .venv/tested

# The tests again only if a file is newer than their last success.
.venv/tested: $(wildcard $(shell git ls-files 2>/dev/null)) .venv/installed-dev
	@$(MAKE) --no-print-directory test

check: .venv/tested
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: .venv/installed-dev
	$(BIN)/python -m tests.bench

oracle: .venv/installed-dev
	$(BIN)/python -m tests.oracle

fmt: .venv/installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.venv/installed: pyproject.toml
	@echo "Installing into .venv; the first time, compiling llama.cpp takes about five minutes." >&2
	$(PYTHON) -m venv .venv
	$(PIP) --upgrade pip
	$(PIP) --editable .
	@$(BIN)/python -m compileall -q quant convert minichat
	@$(PIP) --editable '.[fast]' --only-binary numba,llvmlite 2>/dev/null || \
		echo "numba could not be installed: conversions will be slower, to the same bytes." >&2
	@touch $@

.venv/installed-dev: .venv/installed
	$(PIP) --group dev
	@touch $@
