# Everything here works on a machine with Python 3.11 or newer and make; the rest goes into .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: serve test test-clients lint bench gpu-check docs clean

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

test-clients: .venv/.run .venv-clients/.ready ## other people's client packages, pinned and unmodified, against a real server
	$(BIN)/emberank pull
	.venv-clients/bin/python -m pytest -c tests/compat/clients/pytest.ini tests/compat/clients

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
	rm -rf .venv .venv-clients build dist *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# One environment, two levels: what serving needs, and what developing needs on top.
.venv/.run: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[eval]'
	touch $@

.venv/.dev: .venv/.run
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

# The clients have an environment of their own: they know nothing of Emberank, and their requirements nothing of ours. Everything is pinned, so nothing is resolved.
.venv-clients/.ready: tests/compat/clients/requirements.txt
	test -x .venv-clients/bin/python || $(PYTHON) -m venv .venv-clients
	.venv-clients/bin/python -m pip install --quiet --upgrade pip
	.venv-clients/bin/python -m pip install --quiet --no-deps --requirement $<
	touch $@
