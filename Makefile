# Residual Networks, Rebuilt. `make` alone lists the commands.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help

# A Python from 3.11 on; `make PYTHON=/path/to/python3.12 book` names another one.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& { echo "$$p"; break; }; done)
BIN := .venv/bin
READY := .venv/ready

# The chapters train with one thread each, so that two of them fit on two cores and their
# numbers come out the same; the proxy that nobody serves proves that no cell needs a network.
QUIET := TF_CPP_MIN_LOG_LEVEL=3 TF_ENABLE_ONEDNN_OPTS=0 PYTHONHASHSEED=0
ONE_THREAD := OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1
NO_NETWORK := http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 no_proxy=
# MPLBACKEND=agg would keep the figures out of the pages.
CHAPTERS_ENV := $(QUIET) $(ONE_THREAD) $(NO_NETWORK) MPLBACKEND= COURSE_DATASET=

# The weekly run on the newest versions changes these two.
UNIT_FLAGS :=
NBVAL := --nbval

or_say = || { echo "make: $(1)" >&2; exit 1; }

.PHONY: help book lab test lint unit notebooks execute results benchmark repository clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" $(call or_say,no Python 3.11 to 3.13 found; install one or say make PYTHON=/path/to/python)
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		$(call or_say,$(PYTHON) is no Python from 3.11 to 3.13)
	@echo "setting up .venv with $(PYTHON) (some minutes the first time)"
	@"$(PYTHON)" -m venv --clear .venv $(call or_say,could not make .venv; is the venv module installed?)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt \
		$(call or_say,installing requirements.txt failed; see the lines above)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . \
		$(call or_say,installing course_utils failed; see the lines above)
	@touch $@

book: $(READY) ## build the book from the stored outputs into _build/html
	@$(BIN)/jupyter-book build . --quiet --warningiserror --keep-going >_build.log 2>&1 \
		|| { cat _build.log; echo "make: building the book failed; see the lines above" >&2; exit 1; }
	@rm -f _build.log
	@$(BIN)/python tools/check_book.py $(call or_say,the built book is not complete; see the lines above)

lab: $(READY) ## open JupyterLab on the chapters
	@$(BIN)/jupyter lab --notebook-dir=chapters

test: lint unit notebooks ## lint, unit tests, and every chapter compared with its stored outputs
	@echo "all tests passed"

lint: $(READY)
	@$(BIN)/ruff check --quiet . $(call or_say,ruff found something; see the lines above)
	@$(BIN)/ruff format --quiet --diff . $(call or_say,ruff would format these files otherwise; run $(BIN)/ruff format .)

unit: $(READY)
	@$(QUIET) MPLBACKEND=agg $(BIN)/python -m pytest -n 2 --dist worksteal -q $(UNIT_FLAGS) tests \
		$(call or_say,a unit test failed; see the lines above)

notebooks: $(READY)
	@$(CHAPTERS_ENV) $(BIN)/python -m pytest -n 2 --dist loadscope -q \
		$(NBVAL) --nbval-current-env --nbval-cell-timeout 300 \
		--nbval-sanitize-with tests/nbval_sanitize.cfg chapters \
		$(call or_say,a chapter differs from its stored outputs; see the lines above)

execute: $(READY) ## run chapters and store their outputs: make execute, or make execute CH=03
	@$(CHAPTERS_ENV) $(BIN)/python tools/execute.py $(CH) \
		$(call or_say,a chapter did not run; nothing was stored for it)

results: $(READY) ## train on the whole of MNIST and record it (long): make results, or NETWORK=pytorch/ResNet-18
	@$(QUIET) $(BIN)/python tools/results.py "$(NETWORK)" $(call or_say,a training failed; the rows before it are stored)
	@test -n "$(NETWORK)" || $(MAKE) --no-print-directory benchmark
	@test -n "$(NETWORK)" || $(QUIET) $(BIN)/python tools/slim_oracle.py \
		$(call or_say,the comparison with slim failed; its table is as it was)

benchmark: $(READY) ## time the ResNetV2 networks and record it (long); make results does it too
	@TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python tools/benchmark.py \
		$(call or_say,a case failed; the rows before it are stored)

repository: $(READY) ## set the public address everywhere: make repository URL=https://github.com/...
	@$(BIN)/python tools/repository.py "$(URL)" $(call or_say,the address was not changed)
	@touch $(READY) # pyproject.toml changed, what is installed need not

clean: ## remove what the commands made
	@rm -rf _build _build.log .venv build src/course_utils.egg-info .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
