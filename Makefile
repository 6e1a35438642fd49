# Everything a newcomer types. `make` alone lists the targets.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
TESTED := $(VENV)/.ready-to-test
BENCHED := $(VENV)/.ready-to-bench

.DEFAULT_GOAL := help
.PHONY: help run test sample data docs pictures bench soak clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(READY) data/sample.csv.gz ## serve on 127.0.0.1:5000; Ctrl-C stops
	@exec $(BIN)/gunicorn -c gunicorn.conf.py

test: $(TESTED) data/sample.csv.gz ## lint, check the types and run all tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not alone" $(PYTEST_ARGS)
	$(BIN)/python -m pytest -m alone $(PYTEST_ARGS)

sample: $(READY) ## make the sample table data/sample.csv.gz anew
	$(BIN)/python -m tools.make_sample

data: $(TESTED) ## download the current CDC table (needs internet); it is served from then on
	$(BIN)/python -m tools.download_data

docs: $(READY) ## write the generated pages of docs/ anew
	$(BIN)/python -m tools.make_docs

pictures: $(TESTED) data/sample.csv.gz ## make the documents' pictures anew, with chromium
	$(BIN)/python -m tools.make_pictures

bench: $(BENCHED) data/sample.csv.gz ## threads or processes? measure both, and their like; QUICK=1 takes a minute
	$(BIN)/python -m benchmarks

soak: $(TESTED) data/sample.csv.gz ## kill the server's processes under load for MINUTES=2, then check every job
	$(BIN)/python -m tools.soak --minutes $(or $(MINUTES),2)

clean: ## remove the environment and everything that was built, but no data and no results
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

data/sample.csv.gz: | $(READY)
	$(BIN)/python -m tools.make_sample

$(READY): setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(TESTED): $(READY)
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@

$(BENCHED): $(TESTED)
	$(BIN)/pip install --quiet --editable '.[bench]'
	@touch $@
