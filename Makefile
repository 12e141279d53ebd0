# make demo and make test each set up everything they need in .venv; the second time they start at once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := pyproject.toml setup.py $(wildcard cuda_ext/*.h cuda_ext/*/*)

# What nerfstudio's exporter loads through open3d: library and the Debian package that has it.
LIBRARIES := libusb-1.0.so.0:libusb-1.0-0 libGL.so.1:libgl1 libEGL.so.1:libegl1 libX11.so.6:libx11-6 libgomp.so.1:libgomp1

# uv brings its own list of certificates; the machine's knows its proxy too.
CERTIFICATES := $(wildcard /etc/ssl/certs/ca-certificates.crt)
ifneq ($(CERTIFICATES),)
export SSL_CERT_FILE ?= $(CERTIFICATES)
endif

define apt
{ if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
  then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(1); \
  else echo "make: system packages are missing, install them first: apt-get install $(1)" >&2; exit 1; fi; }
endef

.PHONY: help demo test lint format wheel results paper clean

help:
	@echo "make demo     fit, export and decode a small clip on the CPU"
	@echo "make test     run all tests; PYTEST_ARGS are passed on"
	@echo "make lint     check style; make format mends what it can"
	@echo "make wheel    build a wheel and an sdist into dist/"
	@echo "make results  write README's tables of results from docs/results"
	@echo "make paper    do the paper's experiments on the videos in the folder CLIPS, and write docs/paper.md"
	@echo "make clean    remove what was built; $(VENV) stays"

demo: $(STAMP)
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash examples/demo.sh

test: $(STAMP)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(STAMP)
	$(BIN)/python -m build --no-isolation --outdir dist .

results: $(STAMP)
	$(BIN)/python examples/benchmarks/results_table.py

# The experiments are the files that have a command of this kind; outputs/paper keeps what they encode.
EXPERIMENTS := $(shell grep -l '^    main[^a-z]' examples/benchmarks/paper/*.py)

paper: $(STAMP)
	@test -n "$(CLIPS)" || { echo "make: say which folder has the videos: make paper CLIPS=folder" >&2; exit 1; }
	mkdir -p docs/results/paper
	@for script in $(EXPERIMENTS); do \
	  $(BIN)/python $$script $(CLIPS) --output outputs/paper || exit 1; \
	  name=$$(basename $$script .py); cp outputs/paper/$$name.json outputs/paper/$$name.png docs/results/paper/; \
	done
	$(BIN)/python examples/benchmarks/paper/page.py
	$(BIN)/python examples/benchmarks/results_table.py

clean:
	rm -rf build dist *.egg-info garv_gsplat/ops/*.so outputs exports $(STAMP)

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "make: $(PYTHON) is not Python 3.10 or later; name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(call apt,python3-venv)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv

# Without build isolation the project is built against the torch that is installed, instead of a second download of it.
$(STAMP): $(BIN)/uv $(SOURCES)
	$(BIN)/uv pip install --python $(BIN)/python torch torchvision "setuptools>=77,<82" ninja
	$(BIN)/uv pip install --python $(BIN)/python --no-build-isolation-package garv-gsplat \
	  --reinstall-package garv-gsplat --editable ".[nerfstudio,dev]"
	@missing=""; for pair in $(LIBRARIES); do \
	  $(BIN)/python -c "import ctypes; ctypes.CDLL('$${pair%%:*}')" 2>/dev/null || missing="$$missing $${pair##*:}"; \
	done; test -z "$$missing" || $(call apt,$$missing)
	@touch $@
