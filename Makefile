# The two commands that matter are `make demo` and `make test`; both make their own environment.
.DEFAULT_GOAL := help
.PHONY: help demo test check bench chaos constraints clean
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= auto
ARGS ?=
# Users' settings must not reach into the environment: another PYTHONPATH would hide our packages.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 14

demo: $(VENV)/.installed-demo ## plan and run the demo
	@$(BIN)/goalgraph demo $(ARGS)

# By file, so that a session's fixture is made once: xdist 3.8 does not see its groups under pytest 9.2.
test: $(VENV)/.installed-dev ## all tests (ARGS="-k name" for some, WORKERS=0 for one process)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

check: $(VENV)/.installed-dev ## format, lint, types, direction of imports, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/codespell

bench: $(VENV)/.installed-dev $(VENV)/.installed-bench ## measure ourselves beside the peers
	$(BIN)/python -m benchmarks $(ARGS)

chaos: $(VENV)/.installed-dev ## let everything fail at random, and lose nothing (ARGS="--seconds 600 --seed 1")
	$(BIN)/python -m tests.chaos $(ARGS)

constraints: $(VENV)/.installed-dev $(VENV)/.installed-bench ## write down what is installed as tested
	@{ printf '# The exact versions the tests ran with (Linux, %s). Written by `make constraints`.\n' "$$($(BIN)/python -V)" && \
	  $(BIN)/python -m pip freeze --exclude-editable --exclude goalgraph; } > constraints.new
	mv constraints.new constraints.txt
	touch $(VENV)/.installed-*

clean: ## remove caches and build results (the environment too: rm -rf .venv)
	rm -rf build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name $(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp for each extra; a new dependency or version installs again.
$(VENV)/.installed-%: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$*]' -c constraints.txt
	@touch $@

# An environment that was moved, or whose interpreter is gone or has no pip, is made again.
ifneq ($(shell grep -qsF '$(CURDIR)/$(VENV)' $(BIN)/activate && $(BIN)/python -c 'import pip' 2>/dev/null && echo usable),usable)
.PHONY: $(BIN)/python
endif

# `import ensurepip`: Debian's python3 has no pip for a new environment until python3-venv is installed.
USABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
$(BIN)/python:
	@for python in $(or $(PYTHON),python3 python3.11 python3.12 python3.13 python3.14); do \
	  if "$$python" -c '$(USABLE)' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	  echo "goalgraph needs Python 3.11 or newer with its venv module (Debian: apt install python3-venv)," \
	    "and $(or $(PYTHON),none of python3 and python3.11 to python3.14) is not that; name another: make PYTHON=/path/to/python3" >&2; \
	  exit 1; \
	fi; \
	echo "making $(VENV) with $$("$$found" -V)"; \
	"$$found" -m venv --clear $(VENV)
