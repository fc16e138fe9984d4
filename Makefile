# Targets for users and CI. Every target runs the set-up first; a second set-up takes no time.
# PYTHON=/path/to/python chooses the Python of .venv; otherwise the set-up keeps .venv's or finds one.
BIN := .venv/bin

# Any Python runs the set-up, which then looks for one that ReLook can use.
SET_UP = set_up() { \
	for python in "$(PYTHON)" python3 python3.13 python3.12 python3.11 python; do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null; then \
			"$$python" deploy/setup.py "$$@"; exit $$?; \
		fi; \
	done; \
	if command -v uv >/dev/null; then uv run --quiet --no-project python deploy/setup.py "$$@"; exit $$?; fi; \
	echo "setup: no Python found; install Python 3.11, 3.12 or 3.13" >&2; exit 2; \
}; set_up

.DEFAULT_GOAL := help
.PHONY: help setup demo test check kills resumes bench reproduce doctor lock clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | awk -F '\t' '{printf "  make %-9s %s\n", $$1, $$2}'

setup: ## make .venv from the lock, find or install Chromium, import every engine
	@$(SET_UP) $(if $(PYTHON),--python "$(PYTHON)")

demo: setup ## train the built-in policy on this machine; ARGS="--set steps=8" overrides settings
	@$(BIN)/python -m cluster.train deploy/runs/demo.toml $(ARGS)

test: setup ## run all tests, also those of the real engines; ARGS="-m 'not engine'" runs the fast ones
ifneq ($(strip $(ARGS)),)
	@$(BIN)/python -m pytest $(ARGS)
else
	@failed=0; \
	echo "::: tests without engines, on several processors"; \
	$(BIN)/python -m pytest -n logical --maxprocesses 4 -o faulthandler_timeout=600 -m "not engine" || failed=1; \
	echo "::: tests of the real engines, one after the other"; \
	$(BIN)/python -m pytest -m engine || failed=1; \
	exit $$failed
endif

check: setup ## check formatting, lint, types, import contracts and house rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_house.py

kills: setup ## kill every component of a real run, and write the results to runs/kills.md (half an hour)
	@PYTHONPATH=.:tests/support $(BIN)/python tests/faults/matrix.py $(ARGS)

resumes: setup ## kill and resume a real run ten times, and write a comparison to runs/resumes.md (a quarter of an hour)
	@PYTHONPATH=.:tests/support $(BIN)/python tests/faults/resumes.py $(ARGS)

bench: setup ## benchmark this machine, and write runs/bench.json; ONLY=render runs one part
	@$(BIN)/python -m cluster.bench $(if $(ONLY),--only $(ONLY)) $(ARGS)

reproduce: setup ## train all variants, test the claims and write docs/claims.md (hours); ARGS=--quick for a smoke test
	@$(BIN)/python -m cluster.reproduce $(ARGS)

doctor: setup ## check this machine or cluster; ARGS=deploy/runs/demo.toml checks for one run
	@$(BIN)/python -m cluster.doctor $(ARGS)

lock: setup ## resolve requirements/cpu.lock again from pyproject.toml
	@$(SET_UP) --lock

clean: ## remove caches; keep runs/ and .venv
	rm -rf .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
	rm -f .venv/setup-stamp
