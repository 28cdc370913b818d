# `make demo` and `make test` need nothing done before them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VENV_READY := $(VENV)/.ready
SERVERS_READY := .servers/.ready

# A CouchDB that runs elsewhere is no substitute: some tests stop theirs.
ifeq ($(shell command -v couchdb),)
SERVERS := $(SERVERS_READY)
endif

.DEFAULT_GOAL := help
.PHONY: help demo test bench lint types docs tox package servers system venv clean

help:
	@echo "make demo   a shop on three memcached nodes, CouchDB and two web processes"
	@echo "make test   all tests, against real servers"
	@echo "make bench  our engines beside Django's"
	@echo "make lint | types | docs | package | tox | clean"

demo: venv servers
	@$(BIN)/python -m testproject.demo $(ARGS)

test: venv servers
	@.ci/install-system test
	$(BIN)/python -X dev -m pytest $(ARGS)

bench: venv servers
	$(BIN)/python -m benchmarks $(ARGS)

lint: venv
	@.ci/install-system lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	node .ci/check_js.mjs django_distsession

types: venv
	$(BIN)/mypy

docs: venv
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

# `make tox ARGS="-e lint"` for one environment.
tox: venv servers
	@.ci/install-system test
	.ci/with-pythons $(BIN)/tox run $(ARGS)

package: venv
	.ci/with-pythons $(BIN)/tox run -e package

venv: $(VENV_READY)

servers: system $(SERVERS)

system:
	@.ci/install-system

# Dependency groups need pip 25.1, which is newer than what many a Python brings.
$(VENV_READY): pyproject.toml | system
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

# Install scripts would only look for compilers: LevelDB comes built.
$(SERVERS_READY): testproject/couchdb_api/package.json testproject/couchdb_api/package-lock.json | system
	@mkdir -p $(@D)
	cp $^ $(@D)
	cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

clean:
	rm -rf $(VENV) .servers .tox .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist docs/_build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
