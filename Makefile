# make repro and make test set up all they need. `make help` lists the rest.
.DEFAULT_GOAL := help
PYTHON ?= python3
BASE ?= main
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help setup repro report serve test fast guard lint sweep plots compare pictures backbone lock clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | sort | awk -F'\t' '{printf "make %-10s %s\n", $$1, $$2}'

setup: .venv/ready  ## .venv with the pinned packages

.venv/ready: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1): make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "Installing the pinned packages into .venv (about 2 minutes, once) ..."
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement requirements.lock
	@touch $@

repro: setup  ## run what is out of date of the pipeline
	dvc repro

report: setup  ## write the report, running what is out of date before it: plots/report.html
	dvc repro report
	@echo "Open $(CURDIR)/plots/report.html"

serve: setup  ## answer over HTTP and on a page, http://127.0.0.1:8080; options: python src/serve.py --help
	python src/serve.py

test: lint  ## check style and types, then run all tests
	pytest -n 2 --dist loadfile

fast: setup  ## run the tests that need neither DVC nor training
	pytest -m "not slow"

guard: setup  ## after make repro: is the data sound, do the models do what they claim
	pytest tests/guards

lint: setup  ## check style and types
	ruff check .
	ruff format --check .
	mypy

sweep: setup  ## run the experiment with five seeds and three numbers of components (25 minutes): metrics/repeats.csv
	python src/repeat.py metrics/repeats.csv docs/repeats.png --components 5 --components 20

plots: setup  ## draw the plots into dvc_plots/index.html
	dvc plots show

compare: setup  ## what the working tree changes against BASE=main, as a pull request shows it
	@.ci/compare $(BASE)

pictures: setup  ## copy the plots that the README shows into docs/
	dvc repro
	cp plots/accuracy.png plots/faces.png docs/

backbone: setup  ## train data/demo/backbone again (25 minutes; needed only when its recipe changes)
	dvc repro data/demo/dvc.yaml

lock: setup  ## resolve requirements.lock anew
	python -m pip install --quiet --disable-pip-version-check uv
	uv pip compile --quiet --universal --upgrade --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
		--python-version 3.11 --group dev --output-file requirements.lock pyproject.toml

clean:  ## remove what setup and the tools made, not the data
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis dvc_plots
