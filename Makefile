# The daily commands; `make help` lists them.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PROFILE ?= profiles/local
EXTRAS ?=

# One run at a time in a folder: the lock goes with the process, so that after a kill the next run
# may clear what Snakemake left locked and go on.
RUN := flock --nonblock --close --conflict-exit-code 75 .run.lock

.DEFAULT_GOAL := help
.PHONY: help setup run serve test test-clusters test-service test-archive images check bench bench-scale format generate docs docs-serve lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.run $(EXTRAS:%=$(VENV)/.extra-%) ## make the environment in .venv; EXTRAS=slurm for a cluster

run: $(VENV)/.run ## run the workflow on config/config.yaml
	@$(RUN) sh -c '$(BIN)/snakemake --unlock --quiet all && exec $(BIN)/snakemake --profile $(PROFILE)' || \
	  { code=$$?; [ $$code -ne 75 ] || echo "eemt: another run is under way in this folder" >&2; exit $$code; }

serve: $(VENV)/.run $(VENV)/.extra-service ## start the web service on http://127.0.0.1:8420
	$(BIN)/eemt serve

test: $(VENV)/.dev ## run the tests
	$(BIN)/python -m pytest --numprocesses=logical --maxprocesses=4 --dist=loadfile

test-clusters: $(VENV)/.dev ## run the tests on real SLURM, containers and Kubernetes, as far as they are there; EEMT_LONG=1 for all
	$(BIN)/python -m pytest -s --durations=15 $(or $(ONLY),tests/executors)

test-service: $(VENV)/.dev ## run the service's tests in a browser, under load, on PostgreSQL, Prometheus, Compose and Kubernetes
	$(BIN)/python -m pytest -s --durations=15 tests/service_systems

test-archive: $(VENV)/.dev ## run the archive's tests on a real S3 server, rclone, a full disk and PostgreSQL
	$(BIN)/python -m pytest -s --durations=15 tests/archive_systems

images: $(VENV)/.dev ## build the container images, test them and look for updates they lack
	containers/build.sh core
	containers/build.sh docs
	EEMT_REQUIRE_BEDS=docker $(BIN)/python -m pytest tests/executors/test_containers.py
	containers/scan.sh

check: $(VENV)/.dev ## lint, format, types, workflow, known vulnerabilities
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/snakefmt --check workflow
	$(BIN)/snakemake --lint
	$(BIN)/python .ci/audit.py

bench: $(VENV)/.dev ## measure the sun engine against GRASS r.sun, 20 minutes
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.faithfulness

bench-scale: $(VENV)/.dev ## measure the whole workflow on 1 to 64 million cells, 40 minutes and 60 GB of disk
	$(BIN)/python -m benchmarks.scale

format: $(VENV)/.dev ## put the code into the house format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/snakefmt workflow

generate: $(VENV)/.dev ## make the schema and the reference pages from src/eemt/config.py and service/settings.py
	$(BIN)/eemt config --schema > workflow/schemas/config.schema.yaml
	$(BIN)/eemt config --reference > docs/configuration.md
	$(BIN)/python -m eemt.service.reference docs/service.md

docs: $(VENV)/.dev ## build the documentation into site/, which opens from disk
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-serve: $(VENV)/.dev ## show the documentation on http://127.0.0.1:8000 while you write
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

lock: $(VENV)/.dev ## pin the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile $(LOCK_OPTIONS) --extra build --output-file requirements.txt
	$(BIN)/uv pip compile $(LOCK_OPTIONS) --extra build --extra dev --constraint requirements.txt --output-file requirements-dev.txt
	for extra in slurm generic htcondor kubernetes service archive zarr; do \
	  $(BIN)/uv pip compile $(LOCK_OPTIONS) --extra $$extra $(BESIDE) --output-file requirements-$$extra.txt || exit; \
	done
	echo snakemake-storage-plugin-s3 | $(BIN)/uv pip compile $(LOCK_OPTIONS:pyproject.toml=-) $(BESIDE) \
	  $$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' requirements-archive.txt) \
	  --constraint requirements-kubernetes.txt --output-file containers/requirements-s3.txt

LOCK_OPTIONS := pyproject.toml --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--no-header --upgrade --quiet
# what an extra needs beside requirements.txt
BESIDE = --constraint requirements.txt --constraint requirements-dev.txt --no-annotate $$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' requirements.txt)

clean: ## remove results, logs and the environment
	rm -rf results logs .snakemake $(VENV) .run.lock

# The environment, once for running and once more for developing; a change of the pins makes it anew.
$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "eemt needs Python 3.11 or newer; name one with make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: requirements.txt pyproject.toml | $(VENV)/.python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.extra-%: requirements-%.txt $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement $<
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.txt
	@touch $@
