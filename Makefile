# Two commands: `make train` trains the demo net, `make test` runs every test. Both set everything up first.
PYTHON ?= python3
VENV   ?= .venv
RUN     = $(VENV)/bin/python
READY   = $(VENV)/.ready

.PHONY: train test docs objects wheel bench test-gpu bench-gpu gpu-day gpu-ready gpu-install clean

train: $(READY)
	$(RUN) -m solver train models/demo/fcn8s_solver.prototxt --overwrite \
	    --log runs/demo/log.jsonl --plot runs/demo/loss.png
	$(RUN) -m models report models/demo runs/demo

test: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

docs: $(READY)
	$(RUN) -m pip install --quiet -e '.[docs]'
	$(RUN) docs/make_site.py site

# Machine code for x86-64-v3 and v4: nets answer at once on a machine that has compiled nothing yet.  Kernels whose
# sources have not changed are left as they are.
objects: $(READY)
	$(RUN) -m demitasse.models.precompile $(NETS)

wheel: objects
	$(RUN) -m pip wheel --quiet --disable-pip-version-check --no-deps -w dist .

bench: $(READY)
	$(RUN) -m pip install --quiet -e '.[bench]'
	$(RUN) -m benchmarks
	$(RUN) -m benchmarks --nets voc-fcn8s squeezenet --modes cold --rounds 5 --out benchmarks/results/cold-starts.md

# With a GPU: the layers' goldens and whole nets in every precision, training, NCCL; then the speed beside torch.
# For CUDA 13: make test-gpu GPU_EXTRA=gpu-cuda13
# A Python that has what is needed is used as it is, so that a machine without a network will do; else the environment
# here is set up.
GPU_EXTRA ?= gpu
GPU_NEEDS  = import cupy, google.protobuf, numpy, PIL, pytest, scipy
GPU_RUN    = $$($(PYTHON) -c '$(GPU_NEEDS)' 2>/dev/null && echo $(PYTHON) || echo $(RUN))
# What pretends a GPU, or runs on the CPU, is for `make test`.
GPU_FILES  = $(addprefix tests/test_gpu/test_, benchmark.py device.py names.py nhwc.py nhwc_in_nets.py nvrtc.py \
             whole_nets_on_gpu.py)
GPU_TESTS  = $(GPU_FILES) tests/test_solver/test_on_a_device.py tests/test_layers -k "gpu or device" \
             --ignore=tests/test_layers/test_cpu_backend.py

test-gpu: gpu-ready
	$(GPU_RUN) -m pytest $(GPU_TESTS) --gpu -rs

bench-gpu: gpu-ready
	$(GPU_RUN) -c 'import torch' 2>/dev/null || $(GPU_RUN) -m pip install --quiet torch
	$(GPU_RUN) -m benchmarks --device gpu

# The first minutes on a GPU, nine at most; all results in two small files (docs/gpu.md).
GPU_DAY ?= --out runs/gpu_day

gpu-day: gpu-ready
	$(GPU_RUN) -m benchmarks.gpu_day $(GPU_DAY)

gpu-ready:
	@command -v nvidia-smi >/dev/null || { echo "no GPU was found: there is no nvidia-smi (the driver's) here"; exit 2; }
	@$(PYTHON) -c '$(GPU_NEEDS)' 2>/dev/null || $(MAKE) --no-print-directory gpu-install

gpu-install: $(READY)
	@$(RUN) -c 'import cupy, cudnn' 2>/dev/null || $(RUN) -m pip install --quiet -e '.[$(GPU_EXTRA)]'

$(READY): setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "Demitasse needs Python 3.10 or newer; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { rm -rf $(VENV); echo "python3 -m venv does not work here: installing python3-venv"; \
	  { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq python3-venv; } || \
	  { sudo -n apt-get update -qq && sudo -n apt-get install -y -qq python3-venv; } || { \
	  echo "Please install it and start again: sudo apt-get install python3-venv"; exit 1; }; \
	  $(PYTHON) -m venv $(VENV); }
	$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[all,dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist site *.egg-info runs
