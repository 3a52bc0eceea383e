# llmobs: `make demo` to try it, `make test` to check it. Needs Python 3.11 or newer, nothing else.

VENV := .venv
BRIDGE := .venv-bridge
RUN := $(VENV)/bin/python
# The first of these that is new enough makes the virtual environment.
PYTHONS := python3 python3.14 python3.13 python3.12 python3.11 python
PYTHON ?= $(shell for p in $(PYTHONS); do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PIP := $(RUN) -m pip --disable-pip-version-check -qq
ARGS ?=

.PHONY: install install-dev demo up bridge test lint bench clean

install: $(VENV)/.runtime

install-dev: $(VENV)/.development

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "llmobs needs Python 3.11 or newer: none was found (say which: make PYTHON=...)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python's venv is missing (Debian, Ubuntu: apt install python3-venv)"; exit 1; }

# A stamp is written last, so that an installation that was cut short is done again.
$(VENV)/.runtime: requirements.txt | $(VENV)/bin/python
	@echo "Installing the pinned dependencies into $(VENV) ..."
	@$(PIP) install -r requirements.txt
	@$(RUN) -m llmobs.ingest.compiled
	# Gateways run without assertions: what they load is compiled so here, not at each start (a second, and 70 MB).
	@PYTHONDONTWRITEBYTECODE= $(RUN) -O -c "import gateway.serving, genai_prices.data"
	@touch $@

$(VENV)/.development: requirements-dev.txt $(VENV)/.runtime
	@echo "Installing what development needs ..."
	@$(PIP) install -r requirements-dev.txt
	@touch $@

demo: install
	@$(RUN) manage.py demo $(ARGS)

up: install
	@$(RUN) manage.py up $(ARGS)

# Providers that speak neither format, on an SDK whose pins are not ours: an environment of its own.
bridge: install $(BRIDGE)/.runtime
	@$(RUN) manage.py bridge $(ARGS)

$(BRIDGE)/.runtime: requirements-bridge.txt | $(VENV)/bin/python
	@$(RUN) -m venv $(BRIDGE)
	@$(BRIDGE)/bin/python -m pip --disable-pip-version-check -qq install -r requirements-bridge.txt
	@touch $@

test: install-dev lint
	@.ci/chromium
	@.ci/clients || true
	@$(RUN) -m pytest $(ARGS)

# mypy's Django plugin reads the settings, and those a data folder: give it one of its own.
lint: install-dev
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@LLMOBS_DATA=.mypy_cache/data $(RUN) -m mypy
	@$(VENV)/bin/lint-imports

bench: install-dev
	@$(RUN) -m tests.bench $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .work
