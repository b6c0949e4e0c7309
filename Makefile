# `make lab` and `make test` each work as the first command in a fresh clone: they make .venv, install, and run.

# Where to fetch torch from, if not from the default index: TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
# Further arguments for JupyterLab, such as LAB_ARGS="--no-browser --port 9000"
LAB_ARGS ?=
# Further arguments for `make grade`, such as GRADE_ARGS="--lesson 01 --seed 7"
GRADE_ARGS ?=
# Further arguments for `make test-browser`, such as BROWSER_ARGS="-k 07_capacity"
BROWSER_ARGS ?=
# Further arguments for `make site`, such as SITE_ARGS=--no-scripts where there is no npm to fetch Pyodide with
SITE_ARGS ?=
# What this machine has for certain: a test that is skipped for lack of it fails the run (CI sets bubblewrap).
export MUST_HAVE ?=
FITS := 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))'
# Which Python makes .venv; by default the first one on the path that is 3.11 to 3.14.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.14 python3.11 python; do \
	$$p -c $(FITS) >/dev/null 2>&1 \
	&& { echo $$p; break; }; done)

BIN := .venv/bin
# Test processes with two threads each would fight over two cores: one thread each is several times faster. Three of
# them, because many tests wait for a process of their own.
QUIET_CORES := OMP_NUM_THREADS=1
# What tests skipped, and why (conftest.py writes it): `make test` ends with it.
NOT_RUN := .pytest_cache/not_run.txt
PIP := $(BIN)/python -m pip --disable-pip-version-check install
ROOT_USER := $(if $(filter 0,$(shell id -u)),--allow-root)
export PIP_ROOT_USER_ACTION := ignore

.DEFAULT_GOAL := help
.PHONY: help setup lab lessons lessons-check pictures site test test-browser lint types unit solutions newest format bench grade said-what-to-grade hostile forget clean

help:
	@echo "make lab            open the course in JupyterLab, on lesson 00"
	@echo "make test           everything CI checks"
	@echo "make newest         the tests with the newest torch, transformers and the rest"
	@echo "make test-browser   drive the lab in Chromium, as a learner would"
	@echo "make setup          create .venv and install (TORCH_INDEX=... for another torch)"
	@echo "make lessons        build notebooks/ and solutions/ from lessons/"
	@echo "make lessons-check  say which notebooks are stale"
	@echo "make pictures       make the README's pictures that are stale (needs Chromium)"
	@echo "make site           build the course's web site into site/"
	@echo "make lint format    check, or mend, style and types"
	@echo "make bench          run the benchmarks"
	@echo "make grade          grade a class: SUBMISSIONS=folder OUT=folder"
	@echo "make hostile        attack the grader's sandbox in every way we know"

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 to 3.14 found. Install one, or say where: make $(MAKECMDGOALS) PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c $(FITS) >/dev/null 2>&1 || { echo "PYTHON=$(PYTHON) is no Python 3.11 to 3.14: give another, or leave it out"; exit 1; }
	@echo "==> creating .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "Python's venv module does not work here; on Debian or Ubuntu: apt install python3-venv"; exit 1; }

# Two stamps: what a learner needs, and what building and testing add.
.venv/.installed: requirements.txt pyproject.toml $(wildcard binder/*.json binder/labextension/*) | .venv/bin/python
	@$(PIP) --quiet --upgrade pip
	@echo "==> installing 1 of 3: torch (large; minutes the first time)"
	@$(PIP) $(if $(TORCH_INDEX),--index-url "$(TORCH_INDEX)") "$$(grep '^torch==' requirements.txt)"
	@echo "==> installing 2 of 3: JupyterLab and the rest of requirements.txt"
	@$(PIP) --quiet -r requirements.txt
	@echo "==> installing 3 of 3: the course itself"
	@$(PIP) --quiet --no-deps -e .
	@mkdir -p .venv/share/jupyter/lab/settings .venv/etc/jupyter
	@cp binder/overrides.json .venv/share/jupyter/lab/settings/
	@cp binder/jupyter_server_config.json .venv/etc/jupyter/
	@touch $@

.venv/.installed-dev: requirements-dev.txt requirements-site.txt .venv/.installed
	@echo "==> installing what building and testing add"
	@$(PIP) --quiet -r requirements-dev.txt
	@touch $@

# What building the site adds; building and testing has it too.
.venv/.installed-site: requirements-site.txt .venv/.installed
	@echo "==> installing what building the site adds"
	@$(PIP) --quiet -r requirements-site.txt
	@touch $@

setup: .venv/.installed
	@$(BIN)/moe-lessons doctor

# Jupyter shows no drawing of a notebook that was run elsewhere, until you say that you trust it: the course's own
# solutions are as trustworthy as the package. Its list of what is trusted is in your home.
.venv/.trusted: .venv/.installed $(wildcard solutions/*.ipynb)
	@$(BIN)/python -m jupyter trust solutions/*.ipynb >/dev/null 2>&1 && touch $@ \
	|| echo "Jupyter could not note its trust in solutions/: their drawings show after you run them"

lab: .venv/.trusted
	@echo "==> opening JupyterLab on lesson 00; stop it with Ctrl-C"
	@$(BIN)/python -m jupyter lab $(ROOT_USER) --ServerApp.root_dir="$(CURDIR)" $(LAB_ARGS) notebooks/00_start_here.ipynb

lessons: .venv/.installed-dev
	@$(BIN)/python -m moe_lessons.build

lessons-check: .venv/.installed-dev
	@$(BIN)/python -m moe_lessons.build --check

pictures: .venv/.installed-dev
	@$(BIN)/python tests/browser/readme_pictures.py

site: .venv/.installed-site
	@echo "==> the site, into site/ (any static server shows it: python -m http.server -d site)"
	@$(QUIET_CORES) $(BIN)/python -m moe_lessons.build.site $(SITE_ARGS)

# The parts of `make test`, in the order in which they tell you most, soonest.
test: forget lint types lessons-check unit solutions
	@cat $(NOT_RUN) 2>/dev/null || true
	@echo "==> all green"

forget:
	@rm -f $(NOT_RUN)

lint: .venv/.installed-dev
	@echo "==> lint"
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: .venv/.installed-dev
	@echo "==> types"
	@$(BIN)/mypy

unit: .venv/.installed-dev
	@echo "==> tests, doctests, learner notebooks"
	@$(QUIET_CORES) $(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder

solutions: .venv/.installed-dev
	@echo "==> solutions, run again and compared with their stored output"
	@$(QUIET_CORES) $(BIN)/python -m pytest -q -n 3 --dist loadfile --nbval --nbval-current-env --nbval-cell-timeout=900 solutions/

# The same with the newest of everything; .venv is remade by the next `make test` after `make clean`.
newest: .venv/.installed-dev
	@echo "==> the newest of everything, whatever requirements.txt pins"
	@$(PIP) --quiet --upgrade $(if $(TORCH_INDEX),--index-url "$(TORCH_INDEX)") torch
	@$(PIP) --quiet --upgrade $$(sed -n 's/^\([A-Za-z0-9_-]*\)==.*/\1/p' requirements*.txt | grep -v -e '^torch$$' -e '^nbval$$')
	@$(PIP) list 2>/dev/null | grep -i -e '^torch ' -e '^transformers ' -e '^triton ' -e '^numpy '
	@$(MAKE) --no-print-directory unit solutions

test-browser: .venv/.installed-dev
	@echo "==> the lab in a browser (needs Chromium: apt-get install chromium)"
	@$(BIN)/python -m pytest -q -s -m browser tests/browser $(BROWSER_ARGS)

format: .venv/.installed-dev
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: .venv/.installed-dev
	@for script in $(filter-out benchmarks/gpu_day%.py,$(wildcard benchmarks/*.py)); do echo "==> $$script"; $(BIN)/python $$script || exit 1; done

grade: said-what-to-grade .venv/.installed
	@$(BIN)/moe-lessons grade "$(SUBMISSIONS)" --out "$(OUT)" $(GRADE_ARGS)

# Before anything is installed: that takes minutes.
said-what-to-grade:
	@test -n "$(SUBMISSIONS)" -a -n "$(OUT)" || { echo "Say what to grade and where results go: make grade SUBMISSIONS=folder OUT=folder"; exit 2; }

hostile: .venv/.installed-dev
	@echo "==> the whole hostile corpus against the grader's sandbox (needs bubblewrap)"
	@$(QUIET_CORES) $(BIN)/python tests/hostile/measure.py

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist site *.egg-info
