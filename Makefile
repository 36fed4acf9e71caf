# One environment for the project (.venv), one for the independent policy engine that the tests compare with (.venv-nca),
# both made here and nowhere else. Needs: make and Python 3.11 or later with its venv module.

PYTHON ?= python3
BUILD  := build
BIN    := .venv/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input

NETPOL_GEN_NCA_VERSION := 2.1.0

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The stamps stand for "installed since pyproject.toml, or what is compiled, last changed".
COMPILED := hatch_build.py $(wildcard netpol_gen/readers/*.c netpol_gen/readers/*.h)
.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "netpol-gen needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1). Set PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' \
	  || { echo "$(PYTHON) has no venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.installed: pyproject.toml $(COMPILED) | .venv/.made
	$(PIP) --editable .
	@touch $@

.venv/.installed-dev: pyproject.toml $(COMPILED) | .venv/.made
	$(PIP) --editable '.[dev]'
	@touch .venv/.installed $@

.PHONY: venv
venv: .venv/.installed-dev ## Make .venv with everything for development

.PHONY: demo
demo: .venv/.installed ## Generate policies from the sample flows into build/demo and print them
	@rm -rf $(BUILD)/demo
	@for sample in payments shop; do \
	  echo "== netpol-gen generate sample-flows/$$sample"; \
	  options=(--inventory sample-flows/$$sample/inventory.yaml --out $(BUILD)/demo/$$sample); \
	  if [ -e sample-flows/$$sample/netpol-gen.toml ]; then options+=(--config sample-flows/$$sample/netpol-gen.toml); fi; \
	  $(BIN)/netpol-gen generate sample-flows/$$sample/flows.jsonl* "$${options[@]}"; \
	  find $(BUILD)/demo/$$sample -name '*.yaml' ! -name kustomization.yaml | LC_ALL=C sort | while read -r policy; do \
	    echo; echo "# $$policy"; cat "$$policy"; \
	  done; \
	  echo; \
	done

.PHONY: test
test: lint types ## Lint, types and all tests
	$(BIN)/python -m pytest

.PHONY: lint
lint: .venv/.installed-dev ## ruff, with the commented ignore list of pyproject.toml
	$(BIN)/ruff check .

.PHONY: types
types: .venv/.installed-dev ## mypy, strict
	$(BIN)/mypy

.PHONY: goldens
goldens: .venv/.installed-dev ## Rewrite the expected files of the golden cases (read the diff before committing)
	$(BIN)/python -m pytest --update-goldens tests/test_golden.py tests/test_docs.py tests/ports/test_json_docs.py tests/propose/test_bodies.py

.PHONY: bench
bench: .venv/.installed-dev ## Speed and memory, on input generated from a seed
	$(BIN)/python -m tests.bench

.PHONY: nca
nca: .venv-nca/.installed ## The independent policy engine, in its own environment
	@echo .venv-nca/bin/nca

# It pins PyYAML, lxml, networkx and others exactly, so it cannot share .venv.
.venv-nca/.installed: Makefile
	$(PYTHON) -m venv .venv-nca
	.venv-nca/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
	  network-config-analyzer==$(NETPOL_GEN_NCA_VERSION)
	@touch $@

.PHONY: contract
contract: ## GitHub's own OpenAPI description, which the tests of the bot are held to (needs npm)
	@tests/forge/openapi.sh

.PHONY: pins
pins: ## Rewrite action-constraints.txt: what the action installs (run it with the Python that it names)
	@rm -rf $(BUILD)/pins
	$(PYTHON) -m venv $(BUILD)/pins
	$(BUILD)/pins/bin/python -m pip install --quiet --disable-pip-version-check --no-input '.[bot]' hatchling setuptools
	@{ sed -n '/^#/p' action-constraints.txt; \
	   $(BUILD)/pins/bin/python -m pip --disable-pip-version-check freeze --all --exclude netpol-gen --exclude pip \
	     | tr 'A-Z_' 'a-z-' | LC_ALL=C sort; } >$(BUILD)/pins.txt
	@mv $(BUILD)/pins.txt action-constraints.txt

.PHONY: dist
dist: .venv/.installed-dev ## Source archive and wheel, into dist/
	$(BIN)/python -m build --outdir dist .

.PHONY: clean
clean: ## Remove the environments and everything generated
	rm -f netpol_gen/readers/*.so netpol_gen/readers/*.pyd
	rm -rf .venv .venv-nca $(BUILD) dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find netpol_gen tests sample-flows -name __pycache__ -type d -prune -exec rm -rf {} +
