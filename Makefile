# Everything a person types. Each target sets up what it needs; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PY := .venv/bin/python

.PHONY: help demo test test-python check fix simulate soak bench settings-doc api-doc metrics-doc chart assets assets-all lock setup setup-dev clean

help:  ## list what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

demo: setup  ## run a flytekit workflow with every node kind on the embedded cluster
	.venv/bin/propeller run examples/demo.py demo --python $(PY)

test: setup-dev  ## run the tests that CI runs; the real components are built beside them where they are missing
	tools/test.sh

PYTHON ?= newest
test-python:  ## run the unit tests on another Python: PYTHON=python3.13, or the newest that is here
	tools/test_python.sh $(PYTHON)

check: setup-dev  ## format, lint, types and import rules
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(PY) tools/settings_doc.py --check
	$(PY) tools/api_doc.py --check
	$(PY) tools/metrics_doc.py --check
	$(PY) tools/chart.py --check

fix: setup-dev  ## format, and mend what the linter can
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

SEEDS ?= 500
simulate: setup-dev  ## run the controller in SEEDS worlds of faults and crashes drawn from seeds
	$(PY) -m tests.simulation --seeds $(SEEDS) --processes 0

MINUTES ?= 5
soak: setup-dev $(if $(KUBEBUILDER_ASSETS),,assets)  ## run informers on a real kube-apiserver through MINUTES of writers, cuts and crashes
	$(PY) -m tests.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

bench: setup-dev  ## measure, as ratios within one run
	$(PY) -m loadtest

settings-doc: setup-dev  ## write docs/settings.md from propeller/config, and what chart writes
	$(PY) tools/settings_doc.py

api-doc: setup-dev  ## write docs/api/ from the docstrings
	$(PY) tools/api_doc.py

metrics-doc: setup-dev  ## write docs/metrics.md from propeller/telemetry
	$(PY) tools/metrics_doc.py

chart: setup-dev  ## write the files of deploy/ that are made from propeller/manifests and the settings
	$(PY) tools/chart.py

assets:  ## build kube-apiserver, the kube controllers, etcd, kubectl, Helm, Redis, PostgreSQL and rclone into a per-user cache
	@python3 tools/assets.py

assets-all:  ## the same, and kwok, kind and Kueue
	@python3 tools/assets.py --all

lock:  ## compute the lock files anew from pyproject.toml
	tools/setup.sh lock

setup:
	@tools/setup.sh run

setup-dev:
	@tools/setup.sh dev

clean:  ## remove the virtual environment and all caches of the tools
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
