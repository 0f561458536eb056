# A fresh machine needs Python 3.11 or newer (with venv) and make; each target does its own set-up.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.ready-bench
PIP := -m pip --disable-pip-version-check
# Tests side by side: one process for a core, and at most four; each starts the servers it needs.
WORKERS := -n $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -lt 4 ] && echo $$n || echo 4) --dist worksteal
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.PHONY: help setup run demo log-demo test full check chaos format bench bench-workflows test-newest lock clean
.DELETE_ON_ERROR:

help:
	@echo "make setup        create .venv with the pinned dependencies"
	@echo "make run          a server and a worker with orders to look at, until Ctrl-C"
	@echo "make demo         a workflow whose worker is killed, and which goes on; ends by itself"
	@echo "make log-demo     the log alone: two writers, one killed, nothing lost"
	@echo "make test         every test, with real servers"
	@echo "make full         every simulated world, every crash point"
	@echo "make check        lint, types, layers, fast tests (those not in CI, where make test runs them too)"
	@echo "make chaos        processes killed and stopped, servers crashed, disks filled (make chaos ARGS='--seconds 3600')"
	@echo "make format       let ruff rewrite what it can"
	@echo "make bench        the benchmarks of the log (make bench ARGS=--quick)"
	@echo "make bench-workflows   the benchmarks of workflows"
	@echo "make test-newest  unit and contract tests on the newest Python here"
	@echo "make lock         pin the dependencies again"
	@echo "make clean        remove everything that can be made again"

setup: $(READY)

$(READY): pyproject.toml requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Headwater needs Python 3.11 or newer; set PYTHON=...")'
	$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python $(PIP) install -qq --require-hashes -r requirements/dev.txt
	$(BIN)/python $(PIP) install -qq --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(BENCH_READY): $(READY) requirements/bench.txt
	$(BIN)/python $(PIP) install -qq --require-hashes -r requirements/bench.txt
	@touch $@

run: $(READY)
	$(BIN)/python examples/up_demo/run.py $(ARGS)

demo: $(READY)
	$(BIN)/python examples/order_demo/demo.py

log-demo: $(READY)
	$(BIN)/python examples/log_demo.py

test: $(READY)
	$(BIN)/python -m pytest $(WORKERS) $(ARGS)

full: $(READY)
	HEADWATER_TEST_FULL=1 $(BIN)/python -m pytest tests/simulation tests/chaos $(WORKERS) $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright
	@! grep -rnE '(type|pyright|mypy): *ignore' src || { echo "src/ has no ignores: fix the type"; exit 1; }
	$(BIN)/lint-imports
	$(if $(CI),,$(BIN)/python -m pytest tests/unit $(ARGS))

chaos: $(READY)
	$(BIN)/python -m tests.chaos.storm $(ARGS)
	$(BIN)/python -m tests.chaos.run_storm $(ARGS)

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(BENCH_READY)
	$(BIN)/python -m bench log $(ARGS)

bench-workflows: $(BENCH_READY)
	$(BIN)/python -m bench workflows $(ARGS)

# The newest Python that really runs; its tests live in an environment of their own.
test-newest: $(READY)
	@default=$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	for version in 3.14 3.13 3.12; do \
		[ "$$version" != "$$default" ] || break; \
		for python in python$$version $$(ls -d $(HOME)/.pyenv/versions/$$version*/bin/python 2>/dev/null | sort -rV); do \
			if $$python -c "import sys, venv, ensurepip; sys.exit('%d.%d' % sys.version_info[:2] != '$$version')" 2>/dev/null; then \
				exec $(MAKE) --no-print-directory NEWEST=$$python test-with-newest; \
			fi; \
		done; \
	done; \
	echo "no Python newer than $$default here: nothing more to test"

.PHONY: test-with-newest
test-with-newest: .venv-newest/.ready
	@echo "newest: $$(.venv-newest/bin/python -VV)"
	.venv-newest/bin/python -m pytest tests/unit tests/contract/test_memory.py tests/contract/test_sqlite.py $(WORKERS) $(ARGS)

.venv-newest/.ready: pyproject.toml requirements/test.txt
	$(NEWEST) -m venv --clear .venv-newest
	.venv-newest/bin/python $(PIP) install -qq --require-hashes -r requirements/test.txt
	.venv-newest/bin/python $(PIP) install -qq --no-deps --no-build-isolation --no-index -e .
	@touch $@

# Not a prerequisite of anything: pins move when a person asks. LOCK_ARGS=--upgrade moves all of them.
COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-config $(LOCK_ARGS)
EXTRAS = --extra fast --extra redis --extra server --extra client --extra otel --extra clickhouse --extra chdb
lock: $(READY)
	$(COMPILE) --group dev $(EXTRAS) -o requirements/dev.txt
	$(COMPILE) --group test $(EXTRAS) -c requirements/dev.txt -o requirements/test.txt
	$(COMPILE) -c requirements/dev.txt -o requirements/run.txt
	$(COMPILE) --extra bench -c requirements/dev.txt -o requirements/bench.txt
	@! grep -nE '://|--(index|extra|find|trusted)' requirements/*.txt || { echo "an address got into the pins"; exit 1; }

clean:
	rm -rf .venv .venv-* .cache build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find src tests bench examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
