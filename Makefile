# The commands of this project. They need Python 3.10+ and make alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Services and wf are started hundreds of times by the tests: what they consist of is compiled once, whatever the machine's habit.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test tests chaos lint bench bench-schedules docs screenshots clean

run: $(VENV)/installed ## Start Kafka, the database and the three services.
	$(BIN)/wf up

test: $(VENV)/installed-test ## Lint, types and every test, on a stack of its own.
	$(MAKE) --jobs=2 --no-print-directory lint tests

tests: $(VENV)/installed-test $(VENV)/compiled-tests
	$(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

# Each of the processes would compile all tests for itself. What is wrong with one of them is told by the run.
$(VENV)/compiled-tests: $(VENV)/installed-test $(wildcard tests/*.py tests/*/*.py)
	@$(BIN)/python -m pytest --collect-only --quiet >$@ 2>&1 || true

chaos: $(VENV)/installed ## Kill, freeze and wipe things under load, then look whether anything was lost. ARGS='--seed 7 --minutes 20'
	$(BIN)/python -m chaos $(ARGS)

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy actions apps chaos bench docs domain events store templates vault

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip

$(VENV)/installed: setup.cfg pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --editable '.[standalone]'
	touch $@

$(VENV)/installed-test: setup.cfg pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --editable '.[standalone,test]'
	touch $(VENV)/installed $@

bench: $(VENV)/installed-bench ## Measure throughput, latency and cost; results in bench/results/. ARGS='--flat', '--profile', '--help'
	$(BIN)/python -m bench $(ARGS)

$(VENV)/installed-bench: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[bench]'
	touch $@

bench-schedules: $(VENV)/installed ## Punctuality, throughput, take-over and size of the scheduler (ARGS=--full: ten minutes).
	$(BIN)/python -m bench.schedules $(ARGS)

docs: $(VENV)/installed ## Write the reference pages that are made from the code.
	$(BIN)/python -m docs.generate

screenshots: $(VENV)/installed-test ## Make the pictures in docs/images; needs Chromium.
	$(BIN)/python -m docs.screenshots

clean: ## Remove the virtual environment and the caches.
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
