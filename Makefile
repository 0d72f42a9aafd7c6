# Two commands matter: `make demo` audits this machine, `make test` runs everything. Both set up what they need.
SHELL := /bin/sh
PYTHON ?= python3
VENV ?= .venv
# A file of tests stays on one worker, so that a server is started once; files with long tests begin first. More
# workers than cores: most of the time goes into waiting.
PYTEST_ARGS ?= -n 4 --dist loadfile --no-loadscope-reorder
# tests/unit needs no server, kernel, browser, sudo or Ansible, and starts no program.
FAST_ARGS ?= -n auto --dist worksteal tests/unit
RUN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOWEST := .venv-lowest
NEWEST := .venv-newest
# What checks the dependencies: tools/dependencies.py.
SUPPLY := .venv-supply
# The only thing that is installed without a lock: what writes the locks. LOCK_ARGS=--upgrade moves every version.
UV := uv==0.13.9
UV_VENV := .cache/uv
LOCK_ARGS ?=
COMPILE := $(UV_VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --custom-compile-command 'make lock' $(LOCK_ARGS)
LOCKED := -m pip install --quiet --disable-pip-version-check --require-hashes
# The project itself, built by the locked build backend.
ITSELF := -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .

# Each is python -m tests.hostile.NAME, and prints a table.
HOSTILE := faults lies payloads inputs secrets crashes duress privilege

.DEFAULT_GOAL := help
.PHONY: help demo fast test test-lowest test-newest check docs man lock native native-hashes kernels-cache \
  kernel-table truth fuzz hostile $(HOSTILE) schemas sample screenshots wheel clean

help:  ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: $(VENV)/.ready  ## audit this machine; prints a summary and where the report is
	$(RUN)/fleetaudit run inventory.yml

fast: $(STAMP)  ## the tests that need nothing but Python, in seconds
	$(RUN)/python -m pytest -q $(FAST_ARGS)

test: $(STAMP) check native  ## install what the tests need, lint, type-check and run every test
	tools/system-packages
	$(RUN)/python -m pytest $(PYTEST_ARGS)

test-lowest: $(LOWEST)/.installed  ## the fast tests with the lowest versions that pyproject.toml allows
	$(LOWEST)/bin/python -m pytest -q $(FAST_ARGS)

test-newest: $(NEWEST)/bin/python  ## the fast tests with the newest versions that pyproject.toml allows
	$(NEWEST)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade --upgrade-strategy eager \
	  --editable '.[test,docs]'
	$(NEWEST)/bin/python tools/versions
	$(NEWEST)/bin/python -m pytest -q $(FAST_ARGS)

check: $(STAMP) $(SUPPLY)/.installed  ## ruff, mypy --strict, plain English, density of the code, licences and vulnerabilities
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/clang-format --dry-run --Werror fleetaudit/probe/native/*.[ch]
	$(RUN)/mypy
	$(RUN)/python -m tools.prose
	tools/density fleetaudit
	$(SUPPLY)/bin/python -m tools.dependencies

docs: $(VENV)/.docs man  ## build the documentation into site/, check its links; the man pages go to dist/man/
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=. $(RUN)/mkdocs build --strict
	@echo "site/index.html"

man: $(STAMP)  ## write the man pages into dist/man/
	$(RUN)/python -m tools.reference dist/man

lock: $(UV_VENV)/.installed  ## write requirements/ again, from the bounds in pyproject.toml
	$(COMPILE) pyproject.toml --extra test --group build --group native \
	  --output-file requirements/test.txt
	$(COMPILE) pyproject.toml --constraint requirements/test.txt --output-file requirements/run.txt
	$(COMPILE) --group build --constraint requirements/test.txt --output-file requirements/build.txt
	$(COMPILE) pyproject.toml --extra docs --constraint requirements/test.txt --output-file requirements/docs.txt
	$(COMPILE) pyproject.toml --extra test --group build --resolution lowest-direct \
	  --output-file requirements/lowest.txt
	$(COMPILE) --group supply --output-file requirements/supply.txt
	$(MAKE) $(SUPPLY)/.installed
	$(SUPPLY)/bin/python -m tools.sbom

native: $(STAMP)  ## build the native probe for six architectures, into fleetaudit/probe/native/built/
	$(RUN)/python -m tools.native

native-hashes: native  ## write fleetaudit/probe/native/sha256 again, after a change of the C sources
	$(RUN)/python -m tools.native --write-hashes

kernels-cache: $(STAMP)  ## fetch the kernels that the tests boot, and say which there are
	$(RUN)/python -m tests.support.kernels
	$(RUN)/python -m tests.support.kernel_series

kernel-table: $(STAMP)  ## boot every kernel of Debian's archive and write the table of kernels (hours); ARGS='--every 4'
	$(RUN)/python -m tools.kernel_table $(ARGS)

truth: $(STAMP)  ## hold every verdict against what it must be, on this kernel and in guests (40 minutes); ARGS=--help
	$(RUN)/python -m tests.truth $(ARGS)

fuzz: $(STAMP)  ## fuzz everything that reads what others wrote (30 minutes); ARGS='--minutes 5 reply ini'
	$(RUN)/python -m tests.fuzz $(ARGS)

hostile: $(HOSTILE)  ## attack fleetaudit in every way that the tests know (an hour or more)

faults: ## SSH servers that misbehave: stage, reason, time over the deadline, what was left over
lies: ## hosts whose replies are valid and wrong
payloads: ## strings that attack, in every field, through every output, read by the real consumer
inputs: ## inventories, playbooks and waivers from others
secrets: ## canaries, searched for in everything that is written or shown
crashes: ## kill -9, full disks, failing file systems, clocks set back, two at once
duress: ## the probe on hosts that lack memory, files, rights or time
privilege: ## forced commands, one sudoers line, certificates

$(HOSTILE): $(STAMP)
	$(RUN)/python -m tests.hostile.$@ $(ARGS)

schemas: $(STAMP)  ## write fleetaudit/schema/ again, from the types
	$(RUN)/python -m tests.support.schemas

sample: $(STAMP)  ## make docs/sample again: boots the kernels of the tests (minutes), and takes screenshots
	$(RUN)/python -m tests.support.sample

screenshots: $(STAMP)  ## take the screenshots again that tests/page compares the page with; look at them
	$(RUN)/python -m tests.support.screenshots

wheel: $(STAMP) native  ## build dist/*.whl, and the SBOM that it contains beside it
	$(RUN)/python -m build --wheel --no-isolation --outdir dist .
	cp requirements/sbom.cdx.json dist/

clean:  ## remove the environment and caches, never reports/
	rm -rf $(VENV) $(LOWEST) $(NEWEST) $(SUPPLY) dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The lowest Python, too: PyYAML 6.0.1 has no wheel for 3.13.
$(LOWEST)/bin/python: PYTHON := $(shell python3.11 -c 'import sys; print(sys.executable)' 2>/dev/null || echo $(PYTHON))

$(VENV)/bin/python $(LOWEST)/bin/python $(NEWEST)/bin/python $(SUPPLY)/bin/python $(UV_VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "fleetaudit needs Python 3.11 or later as $(PYTHON); on Debian 12: apt-get install -y python3 python3-venv" >&2; exit 69; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { if [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv; \
	       else echo "python3-venv is missing: sudo apt-get install -y python3-venv" >&2; exit 69; fi; }
	$(PYTHON) -m venv $(patsubst %/bin/python,%,$@)

$(VENV)/.ready: pyproject.toml requirements/build.txt requirements/run.txt $(VENV)/bin/python
	$(RUN)/python $(LOCKED) -r requirements/build.txt -r requirements/run.txt
	$(RUN)/python $(ITSELF)
	@touch $@

$(STAMP): pyproject.toml requirements/test.txt $(VENV)/bin/python
	$(RUN)/python $(LOCKED) -r requirements/test.txt
	$(RUN)/python $(ITSELF)
	@touch $(VENV)/.ready $@

$(VENV)/.docs: requirements/docs.txt $(STAMP)
	$(RUN)/python $(LOCKED) -r requirements/docs.txt
	@touch $@

$(LOWEST)/.installed: pyproject.toml requirements/lowest.txt $(LOWEST)/bin/python
	$(LOWEST)/bin/python $(LOCKED) -r requirements/lowest.txt
	$(LOWEST)/bin/python $(ITSELF)
	@touch $@

$(SUPPLY)/.installed: requirements/supply.txt $(SUPPLY)/bin/python
	$(SUPPLY)/bin/python $(LOCKED) -r requirements/supply.txt
	@touch $@

$(UV_VENV)/.installed: Makefile $(UV_VENV)/bin/python
	$(UV_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(UV)
	@touch $@
