# Two commands do all set-up on a fresh machine: make demo, make test.
# The newest supported interpreter that really runs (a version manager's shim may not).
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
TOOLS := .tools/node
PYODIDE := .tools/pyodide
DATA ?=
KEEP ?=
CONSENSUS ?=

.PHONY: demo test test-deep lint bench format clean

$(VENV)/.runtime: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.test: $(VENV)/.runtime
	$(BIN)/pip install --quiet --disable-pip-version-check --no-warn-conflicts -e '.[test]'
	touch $@

# Real UK household readings for the demo; only its sample files are read.
$(VENV)/.readings: $(VENV)/.runtime
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps eemeter==4.1.1
	touch $@

# solc and ethers are independent oracles; without Node.js their tests are skipped by name.
$(TOOLS)/.installed:
	mkdir -p $(TOOLS)
	if command -v npm >/dev/null; then \
	  npm install --silent --no-audit --no-fund --no-package-lock --prefix $(TOOLS) solc@0.8.37 ethers@6.17.0 @ethereumjs/evm@10.1.3 \
	  && touch $@; \
	else echo "Node.js is not here: the tests against solc and ethers will be skipped"; fi

# CPython 3.12, 3.13 and 3.14 for 32-bit WebAssembly: contracts must do there what they do here.
$(PYODIDE)/.installed:
	mkdir -p $(PYODIDE)
	if command -v npm >/dev/null; then \
	  npm install --silent --no-audit --no-fund --no-package-lock --prefix $(PYODIDE) pyodide-027@npm:pyodide@0.27.8 \
	    pyodide-028@npm:pyodide@0.28.3 pyodide-314@npm:pyodide@314.0.7 && touch $@; \
	else echo "Node.js is not here: the comparison with WebAssembly will be skipped"; fi

demo: $(VENV)/.readings
	$(BIN)/wattledger demo $(if $(DATA),--data $(DATA)) $(if $(KEEP),--keep $(KEEP)) $(if $(CONSENSUS),--consensus $(CONSENSUS))

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint $(VENV)/.readings $(TOOLS)/.installed $(PYODIDE)/.installed
	$(BIN)/pytest -n 2 -m 'not deep'

test-deep: $(VENV)/.test $(VENV)/.readings $(TOOLS)/.installed $(PYODIDE)/.installed
	HYPOTHESIS_PROFILE=deep $(BIN)/pytest -n 2 --timeout 3600

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.test $(TOOLS)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[bench]'
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .tools .bench build *.egg-info
