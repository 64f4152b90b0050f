# Everything here works on a machine with Python 3.11 or newer and make; the rest goes into .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: serve test lint bench gpu-check docs clean

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

# Another Python that has what is needed already: make gpu-check GPU_PYTHON=python3
GPU_PYTHON ?= $(BIN)/python

gpu-check: $(if $(filter $(BIN)/python,$(GPU_PYTHON)),.venv/.dev) ## on a machine with an NVIDIA GPU: the parity suite, then the benchmark into bench/results
	PYTHONPATH=src $(GPU_PYTHON) -c 'import sys, torch; torch.cuda.is_available() or sys.exit("gpu-check: PyTorch %s sees no GPU here" % torch.__version__)'
	PYTHONPATH=src $(GPU_PYTHON) -m pytest -rs tests/gpu tests/conformance/test_engines.py tests/conformance/test_families.py tests/unit/runtime/engines
	PYTHONPATH=src $(GPU_PYTHON) bench/gpu.py --results bench/results

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
