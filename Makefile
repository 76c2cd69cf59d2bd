PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
comma := ,
SOURCES := $(wildcard csrc/*/*.cpp csrc/*/*.hpp csrc/*/*.inc) setup.py pyproject.toml constraints.txt
EXTENSION_TESTS := $(wildcard tests/engine/test_native_*.py)

# The suites run two processes at once and measure one core: NumPy's own threads would only get in the way.
export OPENBLAS_NUM_THREADS := 1

.PHONY: help setup demo test test-slow test-all bench bench-once rate check asan tsan fuzz clean

help:
	@echo "make setup   .venv with coinr, its extension and all tools"
	@echo "make demo    fit, encode and decode a photo; pictures and a table in demo_out/"
	@echo "make test    the fast test suite"
	@echo "make test-slow  the tests that take more than a few seconds: kernels compiled for GPUs, large tensors"
	@echo "make test-all  all tests: fast, slow and fuzz"
	@echo "make fuzz    28 000 hostile files, 10 000 wrong arguments, 2 000 commands, other examples for every property"
	@echo "make bench   throughput suites (pytest-benchmark)"
	@echo "make bench-once  the same, each once and without timing: only what they assert"
	@echo "make rate    rate and distortion of trained networks (about an hour); see bench/rate/README.md"
	@echo "make check   ruff and mypy"
	@echo "make asan    the extension's tests under AddressSanitizer and UBSan"
	@echo "make tsan    the extension's tests under ThreadSanitizer"

setup: $(VENV)/.ready

$(VENV)/.ready: $(SOURCES)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt setuptools wheel pybind11
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation -e ".[dev]"
	@touch $@

demo: setup
	$(BIN)/python -m examples.demo

test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

test-all: setup
	$(BIN)/python -m pytest -m "not gpu and not bench"

fuzz: setup
	$(BIN)/python -m pytest -m "fuzz or hypothesis" --hypothesis-profile random -s

bench: setup
	$(BIN)/python -m pytest bench -m bench --benchmark-only

bench-once: setup
	$(BIN)/python -m pytest bench -m bench --benchmark-disable -q

rate: setup
	$(BIN)/python -m bench.rate

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The extension alone under a sanitizer: its tests import neither torch nor the installed build.
define sanitized
	rm -rf build/$(1) && mkdir -p build/$(1)
	cp -r coinr build/$(1)/coinr && rm -f build/$(1)/coinr/engine/_C*.so
	COINR_SANITIZE=$(2) $(BIN)/python setup.py --quiet build_ext --build-lib build/$(1) --build-temp build/$(1)-objects
	LD_PRELOAD="$$(g++ -print-file-name=$(3)) $$(g++ -print-file-name=libstdc++.so)" $(4) PYTHONPATH=build/$(1) \
		$(BIN)/python -m pytest --noconftest -p tests.profiles -p no:xdist -p no:cacheprovider -q -m "not gpu and not bench and not fuzz" -o "pythonpath=build/$(1) ." $(EXTENSION_TESTS)
endef

asan: setup
	$(call sanitized,asan,address$(comma)undefined,libasan.so,ASAN_OPTIONS=detect_leaks=0:halt_on_error=1 UBSAN_OPTIONS=print_stacktrace=1)

tsan: setup
	$(call sanitized,tsan,thread,libtsan.so,TSAN_OPTIONS=halt_on_error=1:suppressions=csrc/tsan.supp)

clean:
	rm -rf $(VENV) build dist *.egg-info coinr/engine/*.so
