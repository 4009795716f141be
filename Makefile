# Two commands do everything on a fresh machine: `make demo` and `make test`. `make help` lists the rest.
# DATABASE_URL and other settings are read by the program itself from the environment (docs/operations.md).
PYTHON ?= python3
VENV ?= .venv
IMAGE ?= thetaprime
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCK_TOOLS := build/lock-tools

.DEFAULT_GOAL := help
.PHONY: help demo test lint format lock image image-check compose-check clean
.PHONY: bench-few-shot bench-families bench-trust bench-backbone bench-engine bench-open-question bench-papers
.PHONY: bench-imputation

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-19s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(RUNTIME)  ## learn theta, post a new market's first 50 accounts, serve; [DATA= MARKET_COLUMN= TARGET_COLUMN= PRODUCT_COLUMN= DATE_COLUMN= EXCLUDE= HOLDOUT= PORT=]
	@exec $(BIN)/thetaprime demo \
		$${DATA:+--data "$$DATA"} \
		$${MARKET_COLUMN:+--market-column "$$MARKET_COLUMN"} \
		$${TARGET_COLUMN:+--target-column "$$TARGET_COLUMN"} \
		$${PRODUCT_COLUMN:+--product-column "$$PRODUCT_COLUMN"} \
		$${DATE_COLUMN:+--date-column "$$DATE_COLUMN"} \
		$${EXCLUDE:+--exclude "$$EXCLUDE"} \
		$${HOLDOUT:+--holdout "$$HOLDOUT"} \
		$${PORT:+--port "$$PORT"}

test: $(DEV)  ## run the whole test suite; [ARGS="-k name -x"]
	$(BIN)/python -m pytest $(ARGS)

lint: $(DEV)  ## format check, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV)  ## rewrite the sources in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

compose-check:  ## validate docker-compose.yml with whichever compose tool is here
	deploy/compose-check.sh

image:  ## build the container image with Docker; [IMAGE=thetaprime]
	docker build --tag $(IMAGE) .

image-check:  ## build and run the image for real without a Docker engine (Debian, root)
	deploy/image-check.sh

bench-few-shot: $(DEV)  ## theta_prime against its peers on few accounts: docs/results; [ARGS=]
	$(PIP_INSTALL) --requirement benchmarks/few_shot/requirements.txt
	$(BIN)/python -m benchmarks.few_shot $(ARGS)

bench-families: $(DEV)  ## every few-shot learner on the credit benchmark, with its costs: docs/results; [ARGS=]
	$(BIN)/python -m benchmarks.families $(ARGS)

bench-trust: $(DEV)  ## gain, intervals, guard and reasons where the truth is known: docs/results; [ARGS=]
	$(BIN)/python -m benchmarks.trust $(ARGS)

bench-engine: $(DEV)  ## speed of the meta-training engine against its peers: docs/results; [ARGS=]
	$(BIN)/python -m benchmarks.engine $(ARGS)

bench-backbone: $(DEV)  ## which network theta should be, on source markets: docs/results; [ARGS=]
	$(BIN)/python -m benchmarks.backbone $(ARGS)

bench-open-question: $(DEV)  ## learning curves to all rows: is a learned start worth it? docs/results; [ARGS=]
	$(BIN)/python -m benchmarks.open_question $(ARGS)

bench-papers: $(DEV)  ## the papers' own tables with our learners: docs/results; [ARGS="--omniglot FOLDER"]
	$(BIN)/python -m benchmarks.papers $(ARGS)

bench-imputation: $(DEV)  ## what fills a gap best, and what filling does for default risk: docs/results; [ARGS=]
	$(BIN)/python -m benchmarks.imputation $(ARGS)

lock: $(LOCK_TOOLS)  ## pin every dependency again after a change in pyproject.toml; [UPGRADE=--upgrade]
	deploy/lock.sh $(LOCK_TOOLS)/bin/pip-compile $(UPGRADE)

clean:  ## remove the virtual environment and every cache
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find app meta migrations tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The lock also pins setuptools, the build backend, so the package itself is installed without build isolation.
$(RUNTIME): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Thetaprime needs Python 3.11 or newer, as in: make PYTHON=python3.12")'
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	$(PIP_INSTALL) --requirement requirements.lock
	$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): requirements-dev.lock $(RUNTIME)
	$(PIP_INSTALL) --requirement requirements-dev.lock
	@touch $@

$(LOCK_TOOLS):
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet --disable-pip-version-check pip-tools==7.6.2
