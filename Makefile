# `make run` and `make test` set up everything they need on a fresh machine with Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test check format scorecard screenshot benchmarks starter starter-adapters clean

run: .venv/app.stamp
	$(BIN)/python app.py $(ARGS)

test: .venv/dev.stamp
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --no-loadscope-reorder $(ARGS)

check: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

scorecard: .venv/dev.stamp
	$(BIN)/python -m pytest -m slow $(ARGS)

screenshot: .venv/dev.stamp
	$(BIN)/python -m tests.browser.screenshots build/pictures
	cp build/pictures/desktop.png assets/screenshot.png

benchmarks: .venv/app.stamp
	$(BIN)/python -m benchmarks.compare
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.attention
	$(BIN)/python -m benchmarks.halves
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.ways
	$(BIN)/python -m benchmarks.latency
	$(BIN)/python -m benchmarks.serve --quick
	$(BIN)/python -m benchmarks.ingest

# Hours on two cores; goes on where it was stopped. See assets/starter/MODEL_CARD.md.
starter: .venv/app.stamp
	$(BIN)/python assets/starter/build.py train
	$(BIN)/python assets/starter/build.py decay
	$(BIN)/python assets/starter/build.py export

starter-adapters: .venv/app.stamp
	$(BIN)/python assets/starter/adapters.py

clean:
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache

.venv/app.stamp: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/dev.stamp: requirements.txt requirements-dev.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@
