# Every target sets up what it needs in .venv; `make` alone lists them.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
PY := $(VENV)/bin/python
READY := $(VENV)/ready
.DEFAULT_GOAL := help
.PHONY: help dev demo test test-all lint types fmt docs check wheel clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# PyTorch first and alone: an index that carries a CPU build then provides the small one.
$(READY): pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11: make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet "torch>=2.11,<2.14"
	$(PY) -m pip install --quiet -e ".[dev]"
	@touch $@

dev: $(READY)  ## Set up .venv with ftkit (editable) and its development tools

demo: $(READY)  ## Pretrain, tune three ways, evaluate, report: the whole job on the embedded data
	$(PY) -m ftkit demo

test: $(READY)  ## Run the default tests (a few minutes on 2 cores)
	$(PY) -m pytest

test-all: $(READY)  ## Run the slow tests too
	$(PY) -m pytest -m "not gpu and not hub"

lint: $(READY)  ## Check style with ruff
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(READY)  ## Check types with mypy --strict
	@mkdir -p build/types/ftkit
	@for part in ftkit/*.py; do ln -sfn "../../../$$part" build/types/ftkit/; done
	@for floor in basemodel adapters recipes eval cli; do ln -sfn "../../../$$floor" build/types/ftkit/$$floor; done
	$(PY) -m mypy -p ftkit

fmt: $(READY)  ## Format with ruff
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

docs: $(READY)  ## Write docs/cli.md from the commands and the README's tables from results/
	$(PY) docs/write.py

check: lint types test  ## All gates

wheel: $(READY)  ## Build dist/*.whl
	$(PY) -m build --wheel --no-isolation --outdir dist .

clean:  ## Remove what was built (the runs stay)
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
