# Every target sets up what it needs; only python3 and make are presumed.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --quiet --disable-pip-version-check
SOURCES = src tests bench deploy
DEPLOY = $(VENV)/.deploy

.PHONY: install run test pytest test-long check fmt style types types-source types-tests layers contract e2e fuzz proto lock bench docs site image sbom bundle bundle-test clean

$(VENV)/.runtime: requirements.lock pyproject.toml
	@echo "Installing into $(VENV); this takes a minute or two."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

# What only the tests of deploy/ and docs/ need is heavy: proxies, Helm's engine, the site's builder.
$(VENV)/.deploy: requirements-deploy.lock $(VENV)/.dev
	@$(PIP) install --require-hashes -r requirements-deploy.lock
	@touch $@

install: $(VENV)/.runtime  ## every extra

run: $(VENV)/.runtime  ## the server, both listeners
	@exec $(BIN)/isthmus server $(ARGS)

test: pytest  ## everything; in CI on the oldest and the newest Python
	@if [ -n "$$CI" ]; then .ci/other_pythons; fi

pytest: $(VENV)/.dev $(DEPLOY)
	@.ci/system
	$(BIN)/python -m pytest -n auto $(ARGS)

contract: $(VENV)/.dev
	$(BIN)/python -m pytest tests/contract $(ARGS)

e2e: $(VENV)/.dev
	$(BIN)/python -m pytest tests/e2e $(ARGS)

fuzz: $(VENV)/.dev  ## three minutes of requests that our OpenAPI document allows, or does not
	FUZZ_SECONDS=$${FUZZ_SECONDS:-180} $(BIN)/python -m pytest tests/e2e/test_any_request.py $(ARGS)

test-long: $(VENV)/.dev  ## ten minutes of steady load, then 400 deaths of servers under 50 sessions
	SOAK_SECONDS=$${SOAK_SECONDS:-600} $(BIN)/python -m pytest -s tests/soak $(ARGS)
	KILLS=$${KILLS:-200} SESSIONS=$${SESSIONS:-50} $(BIN)/python -m pytest -s tests/e2e/test_kills.py $(ARGS)

check: $(VENV)/.dev $(DEPLOY)  ## format, lint, types, layers, the session contract
	@$(MAKE) --no-print-directory -j4 -Otarget style types-source types-tests layers

style: $(VENV)/.dev
	$(BIN)/ruff format --check $(SOURCES) && $(BIN)/ruff check $(SOURCES)

types: types-source types-tests

types-source: $(VENV)/.dev
	$(BIN)/basedpyright src bench deploy

types-tests: $(VENV)/.dev  ## beside the source: each takes a core
	$(BIN)/basedpyright tests

layers: $(VENV)/.dev
	$(BIN)/lint-imports && $(BIN)/buf breaking proto --against proto/released/contract.binpb

fmt: $(VENV)/.dev
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

proto: $(VENV)/.dev  ## regenerate src/isthmus/contract
	$(BIN)/python -m grpc_tools.protoc -Iisthmus/contract=proto --python_out=src --pyi_out=src --grpc_python_out=src isthmus/contract/contract.proto

docs: $(VENV)/.dev  ## write the reference pages again
	$(BIN)/isthmus config docs > docs/reference/settings.md
	$(BIN)/python -m tests.support.reference

site: $(DEPLOY)  ## the pages as a site that needs no network, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet $(ARGS)

lock: $(VENV)/.dev  ## resolve again: hashes, no addresses
	$(BIN)/uv pip compile -q pyproject.toml --all-extras --group build --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements.lock
	$(BIN)/uv pip compile -q pyproject.toml --all-extras --group build --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements-dev.lock
	$(BIN)/uv pip compile -q pyproject.toml --all-extras --group build --group dev --group deploy -c requirements-dev.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements-deploy.lock

bench: $(VENV)/.dev  ## figures side by side; PEERS=1 adds LiteLLM and Portkey
	PEERS=$(PEERS) $(BIN)/python -m bench $(ARGS)

image: $(DEPLOY)  ## the image without a container engine: files, archive to load, list, SBOM
	$(BIN)/python -m deploy.bundle.image

sbom: image  ## what the image is made of: build/image/isthmus-VERSION-sbom.cdx.json

bundle: $(DEPLOY)  ## one archive that installs where there is no network
	$(BIN)/python -m deploy.bundle $(ARGS)

bundle-test: $(DEPLOY)  ## two bundles, built apart, are the same
	$(BIN)/python -m deploy.bundle --twice $(ARGS)

clean:
	rm -rf .venv .venv-* build dist .pytest_cache .ruff_cache
