# Two commands are enough: `make study` tunes a detector, `make test` runs the tests. Both install first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One thread in each process: two busy threads on two cores are many times slower than one.
export OMP_NUM_THREADS ?= 1

.PHONY: study test test-slow test-browser test-postgresql test-ray chromium postgresql check bench venv clean

study: venv
	$(BIN)/evolve run --study lr_sweep

test: venv
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

test-slow: venv
	$(BIN)/python -m pytest -m slow --numprocesses auto --dist worksteal

test-browser: venv chromium
	$(BIN)/python -m pytest -m browser tests/browser

test-postgresql: venv postgresql
	$(BIN)/python -m pytest -m postgresql tests/evolve/storage/test_postgresql.py

# Playwright brings browsers of its own; Debian's is enough, and its packages are checked.
chromium:
	command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y --no-install-recommends chromium; }

postgresql:
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y --no-install-recommends postgresql; }

test-ray: venv
	$(BIN)/python -m pytest -m ray tests/ray tests/contracts/test_engines.py

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: venv
	$(BIN)/python benchmarks/trainer.py
	$(BIN)/python -m benchmarks.raccoon

venv: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python >= 3.11 is needed, this is " + sys.version.split()[0] + "; make PYTHON=python3.11 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
