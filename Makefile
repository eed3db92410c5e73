# Everything a newcomer needs; each target sets up what it uses. `make help` lists them.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do $$p -c '$(FITS)' 2>/dev/null && echo $$p && exit; done; \
	echo python3)
VENV := .venv
BIN := $(VENV)/bin
DEMO := .demo
# Of `make faults`: so many cases, or HOURS=8 instead.
CASES ?= 500
SEED ?= 1
# Of `make run`.
JOB ?= full_loop

.DEFAULT_GOAL := help
.PHONY: help setup demo ui run review test test-browser test-scale faults soak check audit lock format doctor frontend clean

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(VENV)/ready ## The virtual environment, pinned by constraints.txt

demo: setup ## The whole loop on a small household, with real parts
	@$(BIN)/event-detection demo --folder $(DEMO)

ui: setup ## The Dagster UI at http://127.0.0.1:3000, on your Chronicle or on the demo's data
	@PATH="$(CURDIR)/$(BIN):$$PATH" BIN=$(BIN) DEMO=$(DEMO) sh scripts/with_chronicle.sh \
		dagster dev -w workspace.yaml -h 127.0.0.1 -p 3000

review: setup ## The review page at http://127.0.0.1:8710, on your Chronicle or on the demo's data
	@PATH="$(CURDIR)/$(BIN):$$PATH" BIN=$(BIN) DEMO=$(DEMO) sh scripts/with_chronicle.sh event-detection review

run: setup ## A job without the UI: make run JOB=full_loop (EVENT=sneeze, where there are several)
	@PATH="$(CURDIR)/$(BIN):$$PATH" BIN=$(BIN) DEMO=$(DEMO) sh scripts/with_chronicle.sh \
		dg launch --job $(JOB) $(if $(EVENT),--partition $(EVENT))

doctor: setup ## What a run needs and what is missing
	@$(BIN)/event-detection doctor

test: setup ## The whole test suite, on up to four cores
	$(BIN)/pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-browser: setup ## The tests of the review page in Debian's Chromium, which is installed if missing
	command -v chromium >/dev/null || (apt-get update && apt-get install -y chromium)
	$(BIN)/pytest $(addprefix event_detection_pipeline_tests/review/test_,page.py player.py adapters_page.py)

test-scale: setup ## The scan on a Ray cluster, training in two processes, the Kubernetes values (minutes)
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[k8s,ray,scale]"
	$(BIN)/pytest -m scale

check: setup ## Lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

audit: setup ## Known vulnerabilities of the versions in constraints.txt (asks PyPI)
	$(BIN)/python scripts/audit.py

lock: setup ## Write requirements.lock anew: the versions of constraints.txt with the digests of their files
	$(BIN)/python -m pip install -q -c constraints.txt uv
	$(BIN)/uv pip compile -q pyproject.toml --extra deploy --universal --python-version 3.11 -c constraints.txt \
		--generate-hashes --no-annotate --custom-compile-command "make lock" -o requirements.lock

format: setup ## Let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

faults: setup ## Hundreds of killed, starved and interrupted operations: each promise of docs/guarantees.md
	$(BIN)/python -m event_detection_pipeline_tests.faults --seed $(SEED) $(if $(HOURS),--hours $(HOURS),--cases $(CASES))

soak: setup ## What happens by itself on a long history: times, and the memory of many hours of audio
	$(BIN)/python -m benchmarks.soak

frontend: ## Build the review page anew (needs Node.js; the built files are part of the package)
	cd frontend && npm ci && npm run build

clean: ## Remove the environment and the demo's data (never your own data)
	rm -rf $(VENV) $(DEMO)

$(VENV)/ready: pyproject.toml constraints.txt
	PYTHON=$(PYTHON) VENV=$(VENV) sh scripts/setup.sh
	@touch $@
