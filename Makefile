# make train   set up, train a small ResNet on bundled real data, print a table
# make test    lint, types, doctests, tests (also on a newer Python where there is one);
#              of a test with many parameter sets one, in CI all of them
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
TESTS ?= not slow and not thorough and not further
NEWER_TESTS ?= $(TESTS)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PACKAGE := pyproject.toml README.md LICENSE
NEWER := $(firstword $(foreach v,3.13 3.12,$(shell \
	command -v python$(v) >/dev/null 2>&1 && python$(v) -c '' 2>/dev/null && command -v python$(v) \
	|| ls -d $(HOME)/.pyenv/versions/$(v).*/bin/python 2>/dev/null | tail -n 1)))

.PHONY: train test test-all test-newer package lint types docs bench vendor clean

train: $(VENV)/installed
	$(BIN)/optix-tricks train digits

test: lint types
	$(BIN)/python -m pytest -n 2 --durations=10 -m "$(TESTS)"
	@$(MAKE) --no-print-directory test-newer

# Every test, of programs compiled as users have them compiled (tests/conftest.py).
test-all: export COMPILE = full
test-all:
	@$(MAKE) --no-print-directory test TESTS="slow or not slow"

# What depends on JAX itself once more, on the newest Python and JAX at hand, compiled as
# users have it compiled: how states are made, placed, donated and restored, and the step.
test-newer: export COMPILE = full
test-newer:
ifneq ($(NEWER),)
	@$(MAKE) --no-print-directory $(VENV)-newer/installed-test VENV=$(VENV)-newer PYTHON=$(NEWER)
	$(VENV)-newer/bin/python -m pytest -n 2 tests/test_contract.py \
		tests/training/test_step.py tests/training/test_training_loop.py \
		tests/training/test_donation.py tests/training/test_modes.py \
		-k "training or stable or shapes or donated or kept or back" -m "$(NEWER_TESTS)"
else
	@echo "no Python 3.12 or 3.13 here: the contract ran on $(PYTHON) alone"
endif

# The source archive, the wheel made of it, and what the base alone serves.
package: $(VENV)/installed-test
	$(BIN)/python -m pytest tests/test_base.py -m slow

lint: $(VENV)/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/installed-test
	$(BIN)/mypy

docs: $(VENV)/installed-docs
	$(BIN)/mkdocs build --strict --config-file docs/mkdocs.yml
	$(BIN)/python docs/check_site.py

bench: $(VENV)/installed-bench
	$(BIN)/python -m benchmarks.optimizer_step
	$(BIN)/python -m benchmarks.airbench --peer --runs 0 --data generated --step-batch 128
	$(BIN)/python -m benchmarks.airbench --peer --runs 0 --data generated --step-batch 512 \
		--width 16 --name airbench94_narrow
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.sweep
	$(BIN)/python -m benchmarks.streaming
	$(BIN)/python -m benchmarks.growth
	$(BIN)/python -m benchmarks.growth_figure
	$(BIN)/python -m benchmarks.readme_table

# Pure Python packages for a machine that has jax, flax and optax and reaches no registry.
vendor: $(VENV)/bin/python
	$(PIP) --upgrade --no-deps --target .vendor \
		jaxtyping wadler-lindig matfree

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python $(PACKAGE)
	@echo "installing optix_tricks[train] into $(VENV)"
	$(PIP) --editable '.[train]'
	@touch $@

$(VENV)/installed-test: $(VENV)/bin/python $(PACKAGE)
	@echo "installing optix_tricks[test] into $(VENV)"
	$(PIP) --editable '.[test]'
	@touch $@ $(VENV)/installed

$(VENV)/installed-bench: $(VENV)/bin/python $(PACKAGE)
	$(PIP) --editable '.[bench]'
	@touch $@ $(VENV)/installed

$(VENV)/installed-docs: $(VENV)/bin/python $(PACKAGE)
	$(PIP) --editable '.[docs]'
	@touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) $(VENV)-newer .jax_cache site
