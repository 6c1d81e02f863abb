# What a newcomer needs, and little more. Every target that runs something sets up first.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.attune-set-up
# pip takes any build of 2.13.0 for what is asked, unless it is made to install again.
CPU_TORCH := pip install --force-reinstall --no-deps torch==2.13.0 \
	--index-url https://download.pytorch.org/whl/cpu
PROTOS := $(shell find protos -name '*.proto') protos/generate.py
# Tests are run by so many processes at once; about one core and 4 GiB for each.
WORKERS ?= 2
IS_311 := -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'

.PHONY: setup demo test check bench protos docs clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml $(PROTOS)
	@test "$$(uname -sm)" = "Linux x86_64" || { \
		echo "This is $$(uname -sm); Attune needs Linux on x86-64."; exit 1; }
	@set -e; \
	if ! $(BIN)/python $(IS_311) 2>/dev/null; then \
		for name in python3.11 python3 python; do \
			if $$name $(IS_311) 2>/dev/null; then python=$$name; break; fi; \
		done; \
		test -n "$$python" || { \
			echo "Python 3.11 is needed and not found. Install python3.11 with venv."; exit 1; }; \
		$$python -m venv $(VENV) || { \
			echo "Python cannot make environments. Install its venv package."; exit 1; }; \
	fi
	@echo "Installing requirements.lock into $(VENV); the first time takes some minutes."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation -e .
	@$(BIN)/python -c 'import torch, sys; sys.exit(torch.version.cuda is not None)' || { \
		echo "torch does not import or is no CPU build. Run: $(BIN)/$(CPU_TORCH)"; exit 1; }
	@touch $@

demo: setup
	@$(BIN)/attune demo --approve

test: setup
	@$(BIN)/python -m pytest -n $(WORKERS)

check: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -q -n $(WORKERS) -m "not system"

# Those that need data say so and go on:
# make bench OBJECTIVES=FILE BAD_FILES=FOLDER PEAKS=CSV SPEEDS=CSV TRACE=FILE
bench: setup
	@for name in journey start_latency training_overhead kill near_duplicates report_speed queue graders \
		endpoint adapters mixed_streams ready rollback \
		"traces $(if $(TRACE),--trace $(TRACE))" \
		"objectives $(if $(OBJECTIVES),--cases $(OBJECTIVES))" \
		"bad_files $(if $(BAD_FILES),--cases $(BAD_FILES))" \
		"memory $(if $(PEAKS),--rows $(PEAKS))" "runtime $(if $(SPEEDS),--rows $(SPEEDS))"; do \
		$(BIN)/python -m bench.$$name || exit 1; done

protos: setup
	@$(BIN)/python protos/generate.py

docs: setup
	@$(BIN)/python protos/document.py

clean:
	@find protos -name '*_pb2*' -delete
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
