# "make run" and "make test" need Python 3.11 or newer and make, and set up everything else.
# Works with GNU make 3.81, which macOS ships, and newer.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SOURCES := app tests benchmarks scripts
# Two test processes. Each takes whole files, in order, as tests of a file may share a started system.
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder

# A uv of our own lives in the same environment, so there "sync" must not remove what it does not know.
UV := $(shell command -v uv 2>/dev/null)
ifeq ($(UV),)
UV := $(BIN)/uv
SYNC := $(UV) sync --frozen --all-extras --inexact
BOOTSTRAP := bootstrap
else
SYNC := $(UV) sync --frozen --all-extras
endif

.DEFAULT_GOAL := help
.PHONY: help install run test check format generate bench coverage clean bootstrap

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

run: $(INSTALLED) ## Run the whole system in the foreground (HOST, PORT, DATA_DIR are honoured)
	@exec $(BIN)/orchestrator up

test: $(INSTALLED) ## Run every test and measure the coverage (ARGS="-k name" narrows it down)
	@$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(PARALLEL) $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(if $(ARGS),,printf 'Coverage of app/ in percent: ' && $(BIN)/coverage report --format=total)

coverage: test ## Run every test and show which lines they miss
	@$(BIN)/coverage report

check: $(INSTALLED) ## Check format, lint, types, import contracts and generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/generate.py --check

format: $(INSTALLED) ## Format the code and apply the safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: $(INSTALLED) ## Rewrite the files that are made from the code
	$(BIN)/python scripts/generate.py

bench: $(INSTALLED) ## Measure throughput end to end, beside raw Celery
	$(BIN)/python benchmarks/throughput.py $(ARGS)

install: $(INSTALLED) ## Set up the environment in .venv

clean: ## Remove the environment, caches and reports; data in .orchestrator stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf .coverage .coverage.* htmlcov dist build
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp makes an installed tree start at once; a changed lock file installs again.
$(INSTALLED): pyproject.toml uv.lock | $(BOOTSTRAP)
	@$(SYNC)
	@touch $@

bootstrap:
	@test -x $(UV) || { \
	  python=; \
	  for candidate in python3 python3.14 python3.13 python3.12 python3.11; do \
	    if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	      python=$$candidate; break; \
	    fi; \
	  done; \
	  if test -z "$$python"; then \
	    echo "Python 3.11 or newer is needed, and python3 is: $$(python3 --version 2>&1)." >&2; \
	    echo "Install it, or install uv (https://docs.astral.sh/uv/), which brings its own." >&2; \
	    exit 1; \
	  fi; \
	  echo "uv is not on the PATH: bringing it into $(VENV)"; \
	  $$python -m venv $(VENV) && $(BIN)/pip install --quiet --disable-pip-version-check uv || { \
	    echo "Could not set up $(VENV); on Debian and Ubuntu: apt install python3-venv." >&2; \
	    exit 1; \
	  }; \
	}
