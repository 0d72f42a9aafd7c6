# Two commands matter: `make demo` audits this machine, `make test` runs everything. Both set up what they need.
SHELL := /bin/sh
PYTHON ?= python3
VENV ?= .venv
# A file of tests stays on one worker, so that a server is started once; files with long tests begin first. More
# workers than cores: most of the time goes into waiting.
PYTEST_ARGS ?= -n 4 --dist loadfile --no-loadscope-reorder
# What is left needs no server, kernel, browser, sudo or Ansible, and starts no process.
FAST_ARGS ?= -n auto --dist worksteal -m "not (browser or commands or conformance or kernels or probe or slow or ssh or sudo)"
RUN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo fast test check kernels-cache sample wheel clean

help:  ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: $(VENV)/.ready  ## audit this machine; prints a summary and where the report is
	$(RUN)/fleetaudit run inventory.yml

fast: $(STAMP)  ## the tests that need nothing but Python, in seconds
	$(RUN)/python -m pytest -q $(FAST_ARGS)

test: $(STAMP) check  ## install what the tests need, lint, type-check and run every test
	tools/system-packages
	$(RUN)/python -m pytest $(PYTEST_ARGS)

check: $(STAMP)  ## ruff (lint and format) and mypy --strict
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy

kernels-cache: $(STAMP)  ## fetch the kernels that the tests boot, and say which there are
	$(RUN)/python -m tests.kernels

sample: $(STAMP)  ## make docs/sample again: boots the kernels of the tests (minutes), and takes screenshots
	$(RUN)/python -m tests.sample

wheel: $(STAMP)  ## build dist/*.whl
	$(RUN)/python -m build --wheel --outdir dist .

clean:  ## remove the environment and caches, never reports/
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "fleetaudit needs Python 3.11 or later as $(PYTHON); on Debian 12: apt-get install -y python3 python3-venv" >&2; exit 69; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { if [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv; \
	       else echo "python3-venv is missing: sudo apt-get install -y python3-venv" >&2; exit 69; fi; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: pyproject.toml $(VENV)/bin/python
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(STAMP): pyproject.toml $(VENV)/bin/python
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $(VENV)/.ready $@
