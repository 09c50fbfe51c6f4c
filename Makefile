# Each target makes its own virtual environment from nothing: all that is needed is Python and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SDK := .venv-sdk
# Without compiled files each of the many processes that the tests start compiles everything anew,
# and the time of an import is not that of its users.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test fuzz sdk bench mutants lint types build coverage clean

demo: $(READY)
	$(BIN)/python -m roboflow_async demo

# Five at once: most of the tests wait for a real clock.
test: $(READY)
	$(BIN)/python -m pytest --numprocesses 5 --dist worksteal

# Needs nginx; under five minutes.
bench: $(READY) $(SDK)/.ready
	$(BIN)/python -m pip install --quiet --group bench
	$(BIN)/python benchmarks/lost_images.py
	$(BIN)/python benchmarks/throughput.py --rounds 2 --requests 1280
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/large_responses.py
	$(BIN)/python benchmarks/pace.py --rates 20,500 --seconds 5

# Ten minutes of hostile input to each parser of what comes from outside; says what it ran.
fuzz: $(READY)
	$(BIN)/python tests/fuzz/fuzz.py --minutes 10

coverage: $(READY)
	$(BIN)/python -m coverage run -m pytest
	$(BIN)/python -m coverage report

# Changes the code in small ways and looks whether a test notices; about ten minutes.
mutants: $(READY)
	HYPOTHESIS_PROFILE=mutants $(BIN)/mutmut run --max-children 2
	$(BIN)/mutmut results

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/pyright

build: $(READY)
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m zipfile --list dist/*.whl

clean:
	rm -rf $(VENV) $(SDK) dist build .pytest_cache .ruff_cache .hypothesis .coverage mutants demo.jpg

# pip 25.1 is the first that reads [dependency-groups].
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[all]" --group dev
	touch $(READY)

sdk: $(SDK)/.ready

# Roboflow's official client, to compare with. Apart: it pins its own versions of much.
$(SDK)/.ready: benchmarks/inference-sdk.txt
	$(PYTHON) -m venv $(SDK)
	$(SDK)/bin/python -m pip install --quiet --requirement benchmarks/inference-sdk.txt
	touch $(SDK)/.ready
