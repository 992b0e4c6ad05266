# One target a job; any of them sets up .venv first, and again only when the pinned requirements change.
# A Python other than the first fitting one found: make PYTHON=/path/to/python3.12

VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin
CANDIDATES := $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14 python
COMPILE := $(BIN)/uv pip compile --generate-hashes --no-emit-index-url --no-header --quiet $(UPGRADE)

# The demo and the tests start hundreds of processes: without kept bytecode each would compile the modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup viewer wheel demo serve-demo control test test-caps test-long test-gpu lint format docs requirements clean

help: $(READY)
	@echo "make demo          the whole way on made-up slides: simulate, train ten, lock, score, validate, report"
	@echo "make serve-demo    the service on the demo's bundle, on a loopback port, with a watched folder"
	@echo "make viewer        fetch the page's slide viewer (needs npm);  make wheel: a release, with it in"
	@echo "make control       the same with a hazard that ignores the images: must find nothing"
	@echo "make test          lint, types and the quick tests"
	@echo "make test-caps     the quick tests as older processors would compute them (CAPS=avx2 TESTS=tests/training)"
	@echo "make test-long     every test, slow ones too"
	@echo "make test-gpu      the GPU tests, with the system's python (docs/gpu.md)"
	@echo "make lint          ruff, mypy and the order of imports;  make format: let ruff rewrite"
	@echo "make requirements  compile the hashed requirements again (UPGRADE=--upgrade: newer versions)"
	@echo "make docs          the documents as a site, in site/; a broken link stops it"
	@echo "make clean         remove caches and builds; runs/ and $(VENV) stay"

setup: $(READY)

$(READY): requirements.txt requirements-uv.txt pyproject.toml
	@set -e; \
	if ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  found=; without_venv=; \
	  for python in $(CANDIDATES); do \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	    "$$python" -c 'import venv, ensurepip' 2>/dev/null || { without_venv=$$python; continue; }; \
	    found=$$python; break; \
	  done; \
	  if [ -z "$$found" ] && [ -n "$$without_venv" ]; then \
	    echo "$$without_venv has no venv module: install it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; \
	  elif [ -z "$$found" ]; then \
	    echo "no Python 3.11 or newer among: $(strip $(CANDIDATES)). Install one, or: make PYTHON=/path/to/python3" >&2; \
	    exit 1; \
	  fi; \
	  echo "setting up $(VENV) with $$("$$found" --version); this happens once"; \
	  "$$found" -m venv --clear $(VENV); \
	fi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.txt
	@$(BIN)/uv pip install --python $(BIN)/python --quiet --require-hashes --compile-bytecode --build-constraints requirements.txt \
	  -r requirements.txt
	@$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python .ci/openseadragon
	@$(BIN)/python .ci/axe_core
	@touch $@

# The viewer of slides on the service's page: one pinned npm package, unpacked; `make setup` tries the same.
viewer: $(READY)
	@$(BIN)/python .ci/openseadragon --required

# For a release: the viewer must be in it.
wheel: viewer
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist
	@PATHOPROG_RELEASE=1 $(BIN)/python -m pytest -q tests/test_wheel.py

demo: $(READY)
	@$(BIN)/pathoprog demo

serve-demo: $(READY)
	@$(BIN)/pathoprog serve demo=runs/demo

control: $(READY)
	@$(BIN)/pathoprog control

# Test files run side by side, one more at once than there are cores, at most eight, since many wait for processes of
# theirs; JOBS=0 runs them one after the other, for a debugger.
JOBS ?= $(shell cores=$$(nproc 2>/dev/null || echo 1); echo $$((cores < 7 ? cores + 1 : 8)))
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

# mypy takes a minute from cold on one core: beside the tests, and its verdict after theirs.
test: $(READY)
	$(RUFF_AND_IMPORTS)
	@types=$$(mktemp); $(BIN)/mypy >$$types 2>&1 & mypy=$$!; \
	echo '$(PYTEST) -m "not slow and not gpu" --durations=15'; \
	$(PYTEST) -m "not slow and not gpu" --durations=15; tests=$$?; \
	wait $$mypy; types_hold=$$?; echo $(BIN)/mypy; cat $$types; rm $$types; \
	exit $$((tests || types_hold))

test-long: lint
	$(PYTEST)

# Trained bits depend on the processor's instructions. torch and oneDNN can be held to fewer than it has; one pass a
# cap, those of this processor only, and all passes are run before the first failure counts.
CAPS ?= default avx2 avx512
TESTS ?= tests
test-caps: $(READY)
	@failed=; for cap in $(CAPS); do \
	  case $$cap in \
	    default) isa=SSE41; flag=. ;; \
	    avx2) isa=AVX2; flag=avx2 ;; \
	    avx512) isa=AVX512_CORE; flag=avx512bw ;; \
	    *) echo "CAPS=$$cap: takes default, avx2, avx512" >&2; exit 2 ;; \
	  esac; \
	  grep -q "$$flag" /proc/cpuinfo || { echo "== cap $$cap: this processor has no $$flag, left out"; continue; }; \
	  echo "== cap $$cap"; \
	  ATEN_CPU_CAPABILITY=$$cap ONEDNN_MAX_CPU_ISA=$$isa $(PYTEST) -m "not slow and not gpu" $(TESTS) || failed="$$failed $$cap"; \
	done; \
	if [ -n "$$failed" ]; then echo "failed under:$$failed" >&2; exit 1; fi

# No set-up: a GPU machine brings its own torch, and the GPU tests need no package that it may lack.
GPU_PYTHON ?= python3
GPU_TESTS = $(shell grep -rlE 'mark\.gpu' --include='test_*.py' tests)
test-gpu:
	PYTHONPATH=.:$$PYTHONPATH $(GPU_PYTHON) -m pytest -m gpu $(GPU_TESTS)

define RUFF_AND_IMPORTS
$(BIN)/ruff check .
$(BIN)/ruff format --check .
$(BIN)/lint-imports --no-cache
endef

lint: $(READY)
	$(RUFF_AND_IMPORTS)
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Strict: a broken link, a page outside the navigation or a docstring that does not fit its function is an error.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --clean
	@echo "open site/index.html"

# requirements-image.txt: what Dockerfile.cuda installs, the same versions without the developers' tools.
requirements: $(READY)
	$(COMPILE) requirements-uv.in --universal --python-version 3.11 -o requirements-uv.txt
	$(COMPILE) pyproject.toml --extra dev --extra all --universal --python-version 3.11 -o requirements.txt
	$(COMPILE) pyproject.toml --extra train --extra service --extra ray --extra search --extra signing \
	  --constraint requirements.txt --python-version 3.12 --python-platform x86_64-manylinux_2_28 -o requirements-image.txt

clean:
	rm -rf build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -type d -exec rm -rf {} +
