# Each target makes its own virtual environment from nothing: all that is needed is Python and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SDK := .venv-sdk
AUDIT := .venv-audit
DEMO := .venv-demo
DOCS := .venv-docs
RELEASE := .venv-release
# Nothing is installed whose hash is not in the lock. (A wheel runs nothing when it is installed.)
INSTALL := -m pip install --quiet --prefer-binary --require-hashes --requirement
LOCK := pip compile --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --custom-compile-command "make lock" --quiet $(UPGRADE)
SPHINX := --fresh-env --fail-on-warning --nitpicky --jobs auto --quiet
# Without compiled files each of the many processes that the tests start compiles everything anew,
# and the time of an import is not that of its users.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test docs linkcheck fuzz sdk bench pictures mutants lint types build coverage names release-check audit lock clean

demo: $(DEMO)/.ready
	$(DEMO)/bin/python -m roboflow_async demo

# Five at once: most of the tests wait for a real clock.
test: $(READY)
	$(BIN)/python -m pytest --numprocesses 5 --dist worksteal

# The site, in build/docs/index.html. What is missing, unknown or out of date is an error, and so is
# a link within the site, or to a file of this repository, that leads nowhere.
docs: $(DOCS)/.ready
	$(DOCS)/bin/python docs/measured.py
	$(DOCS)/bin/python -m sphinx --builder html $(SPHINX) docs build/docs
	$(DOCS)/bin/python docs/links.py build/docs

# Asks each other site that a page links to; needs the network.
linkcheck: $(DOCS)/.ready
	$(DOCS)/bin/python -m sphinx --builder linkcheck $(SPHINX) docs build/linkcheck

# Needs nginx; about eight minutes.
bench: $(READY) $(SDK)/.ready
	$(BIN)/python $(INSTALL) requirements/bench.txt
	$(BIN)/python benchmarks/lost_images.py --keep
	$(BIN)/python benchmarks/throughput.py --rounds 2 --requests 1280
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/memory.py --many 30000
	$(BIN)/python benchmarks/large_responses.py
	$(BIN)/python benchmarks/batch.py
	$(BIN)/python benchmarks/pace.py --rates 20,500 --seconds 5

# Of the pages, anew; needs Chromium. benchmark.svg shows what `make bench` measured.
pictures: $(READY)
	for picture in annotated benchmark call page terminal; do \
		$(BIN)/python -W ignore docs/pictures/$$picture.py || exit 1; \
	done

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
	$(BIN)/lint-imports
	$(BIN)/codespell

types: $(READY)
	$(BIN)/pyright

# For a release: what the changelog must tell of changes in is written down anew.
names: $(READY)
	$(BIN)/python tests/support/public_names.py

build: $(READY)
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m zipfile --list dist/*.whl

# What a release would publish, installed where the repository is not, with each Python that is here.
# CHECK=--quick: with one of them, and without the extras. Some ten minutes, or one.
release-check: $(RELEASE)/.ready
	$(RELEASE)/bin/python tests/release/check.py $(CHECK)

clean:
	rm -rf $(VENV) $(SDK) $(AUDIT) $(DEMO) $(DOCS) $(RELEASE) dist build .pytest_cache .ruff_cache .hypothesis .coverage mutants demo.jpg

$(READY): pyproject.toml requirements/dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(INSTALL) requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-index --no-deps --no-build-isolation --editable .
	touch $(READY)

# Apart, because what the tests need takes minutes to install.
$(DEMO)/.ready: pyproject.toml requirements/demo.txt
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python $(INSTALL) requirements/demo.txt
	$(DEMO)/bin/python -m pip install --quiet --no-index --no-deps --no-build-isolation --editable .
	touch $(DEMO)/.ready

$(DOCS)/.ready: pyproject.toml requirements/docs.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python $(INSTALL) requirements/docs.txt
	$(DOCS)/bin/python -m pip install --quiet --no-index --no-deps --no-build-isolation --editable .
	touch $(DOCS)/.ready

# Apart: it installs the newest of all in environments of its own, and shares nothing with the tests.
$(RELEASE)/.ready: requirements/release.txt
	$(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/python $(INSTALL) requirements/release.txt
	touch $(RELEASE)/.ready

sdk: $(SDK)/.ready

# Roboflow's official client, to compare with. Apart: it pins its own versions of much.
$(SDK)/.ready: requirements/inference-sdk.txt
	$(PYTHON) -m venv $(SDK)
	$(SDK)/bin/python $(INSTALL) requirements/inference-sdk.txt
	touch $(SDK)/.ready

# Known vulnerabilities in what the locks name (what cannot be looked up fails, too),
# and what is careless in the workflows.
audit: $(AUDIT)/.ready
	for lock in requirements/*.txt; do \
		$(AUDIT)/bin/pip-audit --strict --require-hashes --disable-pip --requirement $$lock || exit 1; \
	done
	$(AUDIT)/bin/zizmor --offline --persona pedantic .github

# Writes the locks anew: what pyproject.toml says changed, and the newest of everything with
# UPGRADE=--upgrade, which a workflow does once a week.
lock: $(AUDIT)/.ready
	$(AUDIT)/bin/uv $(LOCK) pyproject.toml --extra all --group dev --output-file requirements/dev.txt
	$(AUDIT)/bin/uv $(LOCK) pyproject.toml --extra cli --extra testing --group demo \
		--constraint requirements/dev.txt --output-file requirements/demo.txt
	$(AUDIT)/bin/uv $(LOCK) pyproject.toml --extra cli --extra fastapi --extra opentelemetry --extra redis \
		--extra testing --group docs --constraint requirements/dev.txt --output-file requirements/docs.txt
	$(AUDIT)/bin/uv $(LOCK) --group bench --constraint requirements/dev.txt \
		--output-file requirements/bench.txt
	$(AUDIT)/bin/uv $(LOCK) --group audit --output-file requirements/audit.txt
	$(AUDIT)/bin/uv $(LOCK) --group release --output-file requirements/release.txt
	$(AUDIT)/bin/uv $(LOCK) benchmarks/harness/inference-sdk.txt --output-file requirements/inference-sdk.txt

$(AUDIT)/.ready: requirements/audit.txt
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python $(INSTALL) requirements/audit.txt
	touch $(AUDIT)/.ready
