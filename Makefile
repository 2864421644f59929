# make repro and make test set up all they need. `make help` lists the rest.
.DEFAULT_GOAL := help
PYTHON ?= python3
BASE ?= main
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help experiments setup develop cluster repro report serve test test-all fast guard lint seeds plots compare pictures profile backbone lock clean own verify

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | sort | awk -F'\t' '{printf "make %-11s %s\n", $$1, $$2}'

setup: .venv/run  ## .venv with the pinned packages of the pipeline

develop: .venv/dev  ## the same with those of the server, the tests and the linters

cluster: .venv/run .venv/cluster  ## add Dask, on each machine of a cluster: docs/scale.md

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1): make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv

# one environment, of which each lock adds its part: all pin the same versions
.venv/run: LOCK = requirements.lock
.venv/serve: LOCK = requirements-serve.lock
.venv/cluster: LOCK = requirements-cluster.lock
.venv/dev: LOCK = requirements-dev.lock
.venv/run .venv/serve .venv/cluster .venv/dev: .venv/%: .venv/bin/python requirements.lock requirements-serve.lock requirements-cluster.lock requirements-dev.lock
	@echo "Installing what $(LOCK) pins into .venv, once ..."
	@.ci/install $(LOCK)
	@touch $@

repro: setup  ## run what is out of date of the pipeline, then show the models side by side
	@.ci/repro

report: setup  ## write the report, running what is out of date before it: plots/report.html
	@.ci/repro report

serve: .venv/serve  ## answer over HTTP and on a page, http://127.0.0.1:8080; options: python src/serve.py --help
	python src/serve.py

test: lint  ## check style and types, then run the tests (12 minutes)
	pytest -n 2 -m "not nightly"

fast: develop  ## run the tests that need neither DVC nor training (2 minutes)
	pytest -n 2 -m "not slow and not nightly"

test-all: lint  ## run all tests, whole pipelines repeated and ten times the examples: what CI does each night
	pytest -n 2 --hypothesis-profile nightly

guard: develop  ## after make repro: is the data sound, do the models do what they claim
	pytest tests/guards

lint: develop  ## check style, types and the direction of imports
	ruff check .
	ruff format --check .
	mypy
	mypy bench
	PYTHONPATH=src lint-imports --no-cache

seeds: setup  ## run the experiment with five seeds, two numbers of components and four draws of photos: metrics/seeds.csv
	python src/seed_study.py metrics/seeds.csv docs/seeds.png --components 10

unexport PHOTOS  # what it says is no make: a path may hold a $$
own: export OWN = $(value PHOTOS)
own: setup  ## run the experiment on photos of yours: make own PHOTOS=folder (one subfolder a landmark) or PHOTOS=table.csv
	@python src/own.py "$$OWN"
	@.ci/repro

profile: setup  ## turn params.yaml into another experiment: make profile NAME=thesis (back: git checkout params.yaml)
	@python src/apply_profile.py profiles/$(NAME).yaml

plots: setup  ## draw the plots into dvc_plots/index.html
	dvc plots show

compare: setup  ## what the working tree changes against BASE=main, as a pull request shows it
	@.ci/compare $(BASE)

experiments: setup  ## what differs between the experiments so far, parameters and test accuracies, as wide as the terminal
	@dvc exp show --no-pager --only-changed --drop '.*/|models$$|(calibration_error|gap_to_train|macro_f1|validation_accuracy)\.'

verify: setup  ## run the committed experiment again in a clean clone and print what differs; TOLERANCE=0.03 for metrics
	@python .ci/verify.py $(if $(TOLERANCE),--tolerance $(TOLERANCE))

pictures: setup  ## copy the plots that the README shows into docs/
	dvc repro
	cp plots/accuracy.png plots/faces.png docs/

backbone: setup  ## train data/demo/backbone again (25 minutes; needed only when its recipe changes)
	dvc repro data/demo/dvc.yaml

lock: develop  ## resolve the locks anew and write versions.yaml
	.ci/lock

clean:  ## remove what setup and the tools made, not the data
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis dvc_plots
