# Everything here works on a machine with Python 3.11 or newer and make; the rest goes into .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: serve test lint bench docs clean

serve: .venv/.run ## set up, fetch the default models, serve the catalogue on 127.0.0.1:8000
	$(BIN)/emberank pull
	@echo 'Soon ready. Then, in another terminal, with the key that is shown below at the first start (later: $(BIN)/emberank key create --name me):'
	@echo "  curl -s http://127.0.0.1:8000/v1/ranking -H \"Authorization: Bearer \$$FORGE_API_KEY\" -H 'Content-Type: application/json' -d '{\"model\":\"all-minilm-l6-v2-rerank\",\"query\":{\"text\":\"what is retrieval augmented generation?\"},\"passages\":[{\"text\":\"A graphics processing unit accelerates parallel numerical workloads.\"},{\"text\":\"Retrieval augmented generation combines search over external documents with language model generation.\"}]}'"
	$(BIN)/emberank up

test: .venv/.dev ## set up, lint, check types, run every test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/emberank pull
	$(BIN)/pytest

lint: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

bench: .venv/.dev ## our figures; bench/README.md says how to put the peers beside them
	$(BIN)/emberank pull
	$(BIN)/python bench/engine.py

docs: .venv/.run ## rewrite the generated reference pages
	$(BIN)/emberank settings --markdown > docs/reference/settings.md

clean:
	rm -rf .venv build dist *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# One environment, two levels: what serving needs, and what developing needs on top.
.venv/.run: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[eval]'
	touch $@

.venv/.dev: .venv/.run
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
