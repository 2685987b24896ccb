# Muster. `make run` and `make test` need nothing but make and Python 3.13.
ENVIRONMENT := .venv
PYTHON := $(ENVIRONMENT)/bin/python
READY := $(ENVIRONMENT)/.ready
# More than twice as many as processors: tests wait for clocks and for other processes, too.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) \* 2 + 1)
COMPILE := uv pip compile -q pyproject.toml --python-version 3.13 --universal --generate-hashes --no-emit-index-url --no-header

# Every process of a test would compile all of Muster anew: half of the time that it takes to start.
unexport PYTHONDONTWRITEBYTECODE

# What a link leads to belongs to somebody else.
define OWN_ENVIRONMENT
@if [ -L $(ENVIRONMENT) ]; then \
	echo "$(ENVIRONMENT) is a symbolic link, and what it leads to would be emptied. Remove the link (rm $(ENVIRONMENT)), then run make again." >&2; \
	exit 1; \
fi
endef

.DEFAULT_GOAL := help
.PHONY: help run example test unit format check bench requirements audit indexing-policy package sbom clean

help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

run: $(READY) ## run all of Muster on this machine: SCIM, access API, queue and timer on one SQLite file
	@MUSTER_WEBHOOK_PRIVATE=$${MUSTER_WEBHOOK_PRIVATE:-true} $(PYTHON) -m laptop.devhost

example: $(READY) ## beside `make run`: start an application that shows live what its users may do
	@PYTHONPATH=clients/python/src $(PYTHON) -m examples.booking

test: check ## check the code, then run every test
	$(PYTHON) -m pytest -n $(WORKERS) --dist worksteal --cov --cov-report=term:skip-covered

unit: $(READY) ## run the tests of what needs no store and no network
	$(PYTHON) -m pytest -q tests/unit

format: $(READY) ## put the code into the project's form
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

check: $(READY) ## lint, format, types and the dependency rule, without running anything
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(ENVIRONMENT)/bin/lint-imports

bench: $(READY) ## measure Muster beside another SCIM server; docs/performance.md says how
	$(PYTHON) -m laptop.bench

requirements: $(READY) ## pin requirements*.txt anew from pyproject.toml (needs uv)
	$(COMPILE) -o requirements.txt
	$(COMPILE) --group dev -c requirements.txt -o requirements-dev.txt

audit: $(READY) ## look for known vulnerabilities of what is pinned
	$(PYTHON) -m pip_audit --strict --disable-pip --require-hashes -r requirements.txt -r requirements-dev.txt

indexing-policy: $(READY) ## write infra/indexing-policy.json anew from what the code queries
	$(PYTHON) -m directory.cosmos.indexing > infra/indexing-policy.json

package: ## what a deployment takes, as it was committed: muster.zip
	git archive --format=zip -o muster.zip HEAD

sbom: $(READY) ## list what Muster is made of in sbom.json (CycloneDX), with hashes and licences
	@$(PYTHON) .ci/sbom.py sbom.json

clean: ## remove the environment and what tests left; never the state in .muster
	$(OWN_ENVIRONMENT)
	rm -rf $(ENVIRONMENT) .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .import_linter_cache

# uv where it is installed, else Python's own venv and pip. Either empties the folder first.
$(READY): requirements-dev.txt
	$(OWN_ENVIRONMENT)
	@echo "Preparing the environment in $(ENVIRONMENT) ..."
	@if command -v uv >/dev/null 2>&1; then \
		uv venv -q --clear --python 3.13 $(ENVIRONMENT) && uv pip install -q --python $(PYTHON) --require-hashes -r requirements-dev.txt; \
	else \
		python3.13 -m venv --clear $(ENVIRONMENT) && $(PYTHON) -m pip install -qq --no-compile --disable-pip-version-check --require-hashes -r requirements-dev.txt; \
	fi
	@touch $@
