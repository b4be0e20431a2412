# Two commands to know: `make run` and `make test`. Both set up what they need, once.
PYTHON ?= python3
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export UV_PYTHON_DOWNLOADS := never
export DVC_NO_ANALYTICS := 1

.DEFAULT_GOAL := help
.PHONY: help run accept-data preview test test-fast bench lint format pins clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/stages.installed  ## Run the pipeline as params.yaml says (the digits recipe at first)
	@dvc repro

accept-data:  ## Accept the data as they are: what audit.drift.reference compares with
	@mkdir -p datasets && cp data/profile.json datasets/accepted.json
	@echo "To compare with it, set audit.drift.reference: datasets/accepted.json"

preview: $(VENV)/stages.installed  ## Draw augmented training pictures into reports/preview (RECIPE=name)
	@$(if $(RECIPE),dvc exp run -S recipe=$(RECIPE),dvc repro) pack
	@python -m stages.preview --packed data/packed --sheets reports/preview

test: $(VENV)/dev.installed lint  ## Check style and types, run every test, measure coverage
	@pytest --cov --cov-report=term:skip-covered --cov-fail-under=85

test-fast: $(VENV)/dev.installed  ## Run the tests that take seconds
	@pytest -m "not slow"

bench: $(VENV)/bench.installed  ## Measure speed and memory against the books' way (DATA=FOLDER to use your own pictures)
	@python -m benchmarks $(if $(DATA),--data "$(DATA)")

lint: $(VENV)/dev.installed  ## Check style and types
	@ruff format --check --quiet .
	@ruff check --quiet .
	@mypy

format: $(VENV)/dev.installed  ## Bring the code into shape
	@ruff format --quiet .
	@ruff check --fix --quiet .

pins: $(VENV)/uv.installed  ## Renew requirements/ from pyproject.toml
	@uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-header \
		--extra data --extra train --extra tracking pyproject.toml -o requirements/stages.txt
	@uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-header \
		--extra data --extra train --extra tracking --extra dev -c requirements/stages.txt \
		pyproject.toml -o requirements/dev.txt
	@uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-header \
		--extra bench -c requirements/dev.txt pyproject.toml -o requirements/bench.txt

clean:  ## Remove what the pipeline wrote into the workspace (DVC's cache and MLflow's runs stay)
	@rm -rf data features models predictions ensemble reports plots dvc_plots

$(VENV)/uv.installed:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed; name one: make PYTHON=python3.12 run"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@pip install --quiet --disable-pip-version-check uv
	@touch $@

$(VENV)/stages.installed: requirements/stages.txt $(VENV)/uv.installed
	@echo "Installing the stages' packages into $(VENV) (2 GB, once)"
	@uv pip install --quiet --python $(VENV)/bin/python -r requirements/stages.txt
	@touch $@

$(VENV)/bench.installed: requirements/bench.txt $(VENV)/dev.installed
	@uv pip install --quiet --python $(VENV)/bin/python -r requirements/bench.txt
	@touch $@

$(VENV)/dev.installed: requirements/dev.txt $(VENV)/stages.installed
	@uv pip install --quiet --python $(VENV)/bin/python -r requirements/dev.txt
	@touch $@
