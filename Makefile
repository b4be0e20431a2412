# Two commands to know: `make run` and `make test`. Both set up what they need, once.
# Not /bin/sh, its default: with that, make starts a plain command without a shell, and the one of macOS looks for it
# in the PATH of before the export below.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
AIRFLOW := .venv-airflow
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export UV_PYTHON_DOWNLOADS := never
export DVC_NO_ANALYTICS := 1
# Keras' backend of a run is a variable of the shell. JAX is an extra, which TensorFlow's users do without.
JAX := $(if $(filter jax,$(KERAS_BACKEND)),$(VENV)/jax.installed)

TARGETS := help run explain new audit docs results-cache accept-data reproduce find-learning-rate sweep sync-tracking preview predict \
	test test-fast test-jax images up down e2e-docker e2e-kubernetes bench plan airflow e2e-airflow replay lint format pins clean clean-up
# A name that follows a target, as in `make run flowers`, would be missed only after all of that target's work.
ODD := $(filter-out $(TARGETS) $(VENV)/% $(AIRFLOW)/%,$(wordlist 2,99,$(MAKECMDGOALS)))
$(if $(ODD),$(error there is no target $(ODD); a recipe is named by RECIPE=$(firstword $(ODD)), images by DATA=))

# The words that each target takes; the others take none.
WORDS-run := DATA RECIPE SET VERBOSE
WORDS-explain := KEY RECIPE
WORDS-new := RECIPE FROM DATA
WORDS-results-cache := EMPTY
WORDS-reproduce := RECIPES SEEDS SET
WORDS-find-learning-rate := RECIPE SET MEMBER
WORDS-sweep := RECIPE SET MEMBER TRIALS SPACE
WORDS-preview := RECIPE SET
WORDS-predict := FILES MODEL
WORDS-bench := DATA
WORDS-plan := RECIPE SET
WORDS-replay := RUN
WORDS-clean-up := YES DAYS
WORDS := $(sort $(foreach name,$(filter WORDS-%,$(.VARIABLES)),$($(name))))
# Variables of this file, which any target takes.
SETTINGS := PYTHON VENV AIRFLOW BACKEND KERAS_BACKEND MLFLOW_ADDRESS
# A word that the target does not take would be dropped, and something else would run.
GOALS := $(or $(MAKECMDGOALS),help)
TAKEN := $(strip $(foreach goal,$(GOALS),$(WORDS-$(goal))))
OTHERS := $(filter-out $(SETTINGS) $(TAKEN),$(foreach word,$(.VARIABLES),\
	$(if $(filter command,$(firstword $(origin $(word)))),$(word))))
$(if $(OTHERS),$(error make $(GOALS) takes no $(OTHERS); it takes: $(or $(TAKEN),no word)))
$(foreach word,EMPTY YES VERBOSE,$(if $(filter-out 0 1,$($(word))),$(if $(filter command,$(firstword $(origin $(word)))),\
	$(error $(word) is $($(word)); it is 1 or 0))))
# Only words after `make TARGET` set these: a shell may have a variable DATA or RUN for something else. `value`, as
# make would expand the $ in a path or in SET='key=${seed}'.
$(foreach word,$(WORDS),$(eval override $(word) := $(if $(filter command,$(firstword $(origin $(word)))),$$(value $(word)))))
# By way of the environment, as a path may have blanks and quotes, and a value brackets.
export $(WORDS)

# $(call need,VARIABLE,what to name,an example)
need = $(if $($(1)),:,echo 'error: name $(2): make $@ $(1)=$(3)' >&2; exit 1)

# SET changes the recipe, or the default one. Without both, params.yaml is as it is.
params = $${RECIPE:+--recipe "$$RECIPE"} $${SET:+--set "$$SET"}

.DEFAULT_GOAL := help
.PHONY: $(TARGETS)

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/stages.installed $(JAX)  ## Run the pipeline, or run it on your images (DATA=/path), or a recipe (RECIPE=name SET="key=value")
	@python -m stages.tools.run $${DATA:+"$$DATA"} $(params) $(if $(filter 1,$(VERBOSE)),--verbose)

explain: $(VENV)/stages.installed  ## Say what a param means: its range, its value, its place in the books (KEY=resize.size)
	@$(call need,KEY,a key of params.yaml,models.lenet.train.epochs)
	@python -m stages.tools.explain "$$KEY" $${RECIPE:+--recipe "$$RECIPE"}

new: $(VENV)/stages.installed  ## Write a recipe of your own (RECIPE=name FROM=images DATA=/path/to/images)
	@$(call need,RECIPE,a new recipe,flowers)
	@python -m stages.tools.new_recipe "$$RECIPE" $${FROM:+--base "$$FROM"} $${DATA:+--data "$$DATA"}

results-cache: $(VENV)/stages.installed  ## Show the store of image results (EMPTY=1 empties it)
	@python -m stages.tools.results_cache $(if $(filter 1,$(EMPTY)),--empty)

accept-data:  ## Accept the data as they are: what audit.drift.reference compares with
	@[ -f data/profile.json ] || { echo "error: data/profile.json is missing; make run writes it" >&2; exit 1; }
	@mkdir -p datasets && cp -f data/profile.json datasets/accepted.json
	@echo "To compare with it, set audit.drift.reference: datasets/accepted.json"

reproduce: $(VENV)/stages.installed $(JAX)  ## Run recipes beside their books' numbers (RECIPES="lenet_mnist …"); without: the table
	@python -m stages.tools.reproduce $$RECIPES $${SEEDS:+--seeds $$SEEDS} $${SET:+--set "$$SET"}

find-learning-rate: $(VENV)/stages.installed $(JAX)  ## Draw a network's loss over the learning rate (RECIPE=digits MEMBER=lenet)
	@$(call need,MEMBER,a member of the recipe,lenet)
	@python -m stages.tools.learning_rate_finder "$$MEMBER" $(params)

sweep: $(VENV)/sweep.installed $(JAX)  ## Search a member's params on the val split (RECIPE=digits MEMBER=lenet TRIALS=20)
	@$(call need,MEMBER,a member of the recipe,lenet)
	@python -m stages.tools.sweep "$$MEMBER" $(params) $${TRIALS:+--trials "$$TRIALS"} $${SPACE:+--space "$$SPACE"}

sync-tracking: $(VENV)/stages.installed  ## Upload to MLflow what could not be logged while its server was unreachable
	@python -m stages.tools.sync_tracking

preview: $(VENV)/stages.installed $(JAX)  ## Draw augmented training images into reports/preview (RECIPE=name)
	@python -m stages.tools.preview $(params)

predict: $(VENV)/stages.installed $(JAX)  ## Say what images show: FILES="a.jpg folder 'more/*.png'" (MODEL=models:/NAME@champion)
	@$(call need,FILES,images,"a.jpg folder")
	@# The shell reads FILES, as quotes and patterns are for it.
	@python -m stages.tools.predict_image $${MODEL:+--model "$$MODEL"} $(FILES)

# By file, as fixtures are shared within one; no more than four, as each worker may train and hold 2 GB. As many
# workers as cores: with more threads in each, tests of networks and classifiers took a fifth longer.
PARALLEL := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 \
	pytest -n auto --maxprocesses 4 --dist loadfile --durations 40 -o faulthandler_timeout=120

test: $(VENV)/dev.installed lint  ## Check style and types, run the tests, measure coverage
	@# Those under a real Airflow have a target of their own, e2e-airflow, and take as long again.
	@$(PARALLEL) --ignore tests/pipelines/e2e --cov --cov-report=term:skip-covered
	@# pyproject.toml says which files run elsewhere and are left out.
	@printf 'Coverage of stages/ and apps/ in %%, at least 85: '
	@coverage report --include='stages/*,apps/*' --format=total --fail-under=85
	@printf 'Coverage of pipelines/ in %%, at least 85: '
	@coverage report --include='pipelines/*' --format=total --fail-under=85

# Its image, Keras on JAX, has 1.5 GB: `make test-jax` builds it, `.ci/run` does not.
RANKS := tests/docker/test_ranks.py

# Keras' backend in the fast tests: tensorflow, or jax (an extra).
BACKEND := tensorflow

test-fast: $(VENV)/dev.installed $(if $(filter jax,$(BACKEND)),$(VENV)/jax.installed)  ## Run the tests that take seconds (BACKEND=jax)
	@KERAS_BACKEND=$(BACKEND) $(PARALLEL) -m "not slow"

test-jax: $(VENV)/jax.installed $(AIRFLOW)/installed  ## Run the tests of networks with Keras on JAX, several devices and processes among them
	@KERAS_BACKEND=jax pytest -rs -n 2 --dist loadfile tests/models tests/data/test_loader.py tests/common/test_launcher.py
	@docker/with-engine.sh pytest -rs $(RANKS)

images:  ## Build the containers' images (see docker/)
	@docker/images.sh

up: images  ## Start Airflow, MLflow and PostgreSQL as containers
	@docker/up.sh

down:  ## Stop them; runs, artifacts and users stay
	@docker/down.sh

e2e-docker: $(VENV)/dev.installed  ## Run the pipeline in containers, on a throwaway engine where there is none
	@docker/with-engine.sh pytest -rs tests/docker tests/pipelines/test_runners.py --ignore $(RANKS)

e2e-kubernetes: $(VENV)/dev.installed $(AIRFLOW)/installed  ## Run the pipeline as pods, on a throwaway Kubernetes cluster
	@docker/with-cluster.sh pytest -rs -k kubernetes tests/kubernetes tests/pipelines/test_runners.py

bench: $(VENV)/bench.installed $(JAX)  ## Measure speed and memory against the books' way (DATA=FOLDER to use your own images)
	@python -m benchmarks $${DATA:+--data "$$DATA"}

plan: $(VENV)/stages.installed  ## Say what make run would run, and why (RECIPE=name SET="key=value": with other params)
	@python -m pipelines.worker.preview $(params)

airflow: $(AIRFLOW)/installed $(VENV)/stages.installed $(JAX)  ## Start Airflow and MLflow on this machine, until Ctrl-C (MLFLOW_ADDRESS=… for pods)
	@PYTHONPATH=. exec $(AIRFLOW)/bin/python -m pipelines.local $(if $(MLFLOW_ADDRESS),--mlflow-address $(MLFLOW_ADDRESS))

e2e-airflow: $(VENV)/dev.installed $(AIRFLOW)/installed  ## Run pipelines under a real Airflow, with a browser at its pages
	@pytest -rs tests/pipelines/e2e tests/pipelines/test_kubernetes_runner.py tests/pipelines/test_kubernetes_pod.py

replay: $(VENV)/stages.installed  ## Bring the workspace back to what it was in a run (RUN=name, as dvc exp list has it)
	@[ -n "$$RUN" ] || dvc exp list --all --name-only
	@$(call need,RUN,a run of those above,name)
	@# DVC sets other changes aside without a word.
	@changed=$$(git status --porcelain -- . ':!params.yaml' ':!dvc.lock') && [ -z "$$changed" ] || \
		{ printf 'error: replay would remove these changes; commit them or git stash -u them:\n%s\n' "$$changed" >&2; exit 1; }
	@dvc exp apply "$$RUN"

lint: $(VENV)/dev.installed  ## Check style, types, import layers and words
	@ruff format --check --quiet .
	@ruff check --quiet .
	@lint-imports --no-logo > $(VENV)/lint-imports.log 2>&1 || { cat $(VENV)/lint-imports.log; exit 1; }
	@codespell -D- -Ddocs/vocabulary.txt
	@mypy

audit: $(VENV)/dev.installed $(AIRFLOW)/installed  ## Look the installed packages up in the database of known vulnerabilities
	@pip-audit --progress-spinner off
	@for path in $(AIRFLOW)/lib/python*/site-packages; do \
		[ ! -d "$$path" ] || pip-audit --progress-spinner off --path "$$path" || exit 1; done

format: $(VENV)/dev.installed  ## Format the code
	@ruff format --quiet .
	@ruff check --fix --quiet .

docs: $(VENV)/dev.installed  ## Build the documentation into docs/_build
	@sphinx-build --quiet --fail-on-warning --keep-going docs docs/_build
	@echo "docs/_build/index.html"

# Hashes make an index that serves another file under a pinned version an error.
PIN := uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-header --generate-hashes

pins: $(VENV)/uv.installed  ## Renew requirements/ from pyproject.toml
	@$(PIN) --extra data --extra train --extra tracking --extra dask pyproject.toml -o requirements/stages.txt
	@$(PIN) --extra data --extra tracking --extra dask -c requirements/stages.txt pyproject.toml -o requirements/data.txt
	@$(PIN) --extra data --extra train-gpu --extra tracking --extra dask -c requirements/stages.txt \
		pyproject.toml -o requirements/train-gpu.txt
	@$(PIN) --extra mlflow-server -c requirements/stages.txt pyproject.toml -o requirements/mlflow.txt
	@$(PIN) --extra data --extra train --extra tracking --extra dask --extra sweep --extra dev --extra export \
		-c requirements/stages.txt pyproject.toml -o requirements/dev.txt
	@$(PIN) --extra bench -c requirements/dev.txt pyproject.toml -o requirements/bench.txt
	@$(PIN) --extra sweep -c requirements/stages.txt pyproject.toml -o requirements/sweep.txt
	@$(PIN) --extra jax -c requirements/dev.txt pyproject.toml -o requirements/jax.txt
	@$(PIN) --extra data --extra train-jax --extra tracking --extra dask -c requirements/stages.txt \
		-c requirements/jax.txt pyproject.toml -o requirements/train-jax.txt
	@$(PIN) --group airflow -o requirements/airflow.txt
	@$(PIN) --group airflow-local -c requirements/airflow.txt -o requirements/airflow-local.txt

clean:  ## Remove the folders that the pipeline writes, with all that is in them (DVC's cache and MLflow's runs stay)
	@rm -rf data features models predictions ensemble reports plots dvc_plots .checkpoints

clean-up: $(VENV)/stages.installed  ## List what old runs left: clones, checkpoints, MLflow's runs, DVC's cache … (YES=1 removes it; DAYS=30)
	@python -m pipelines.worker.clean_up $${DAYS:+--days "$$DAYS"} $(if $(filter 1,$(YES)),--remove)

# Bytecode is compiled here, once: a process that may not write into the environment would compile at each start.
INSTALL := uv pip install --quiet --compile-bytecode --python

$(VENV)/uv.installed:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed; name one: make PYTHON=python3.12 run"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@pip install --quiet --disable-pip-version-check uv
	@touch $@

$(VENV)/stages.installed: requirements/stages.txt $(VENV)/uv.installed
	@echo "Installing the stages' packages into $(VENV) (2 GB, once)"
	@$(INSTALL) $(VENV)/bin/python -r requirements/stages.txt
	@touch $@

$(VENV)/sweep.installed: requirements/sweep.txt $(VENV)/stages.installed
	@$(INSTALL) $(VENV)/bin/python -r requirements/sweep.txt
	@touch $@

$(AIRFLOW)/installed: requirements/airflow.txt requirements/airflow-local.txt $(VENV)/uv.installed
	@echo "Installing Airflow into $(AIRFLOW) (400 MB, once)"
	@[ -x $(AIRFLOW)/bin/python ] || uv venv --quiet --python $(VENV)/bin/python $(AIRFLOW)
	@$(INSTALL) $(AIRFLOW)/bin/python -r requirements/airflow.txt -r requirements/airflow-local.txt
	@touch $@

$(VENV)/bench.installed: requirements/bench.txt $(VENV)/dev.installed
	@$(INSTALL) $(VENV)/bin/python -r requirements/bench.txt
	@touch $@

$(VENV)/jax.installed: requirements/jax.txt $(VENV)/dev.installed
	@$(INSTALL) $(VENV)/bin/python -r requirements/jax.txt
	@touch $@

$(VENV)/dev.installed: requirements/dev.txt $(VENV)/stages.installed
	@$(INSTALL) $(VENV)/bin/python -r requirements/dev.txt
	@touch $@
