# `make` lists what can be made. Everything installs what it needs into .venv; nothing else is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO := .demo

.DEFAULT_GOAL := help
.PHONY: help install demo test slurm check format benchmark benchmark-training benchmark-jobs benchmark-cost benchmark-report clean

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(INSTALLED) ## create .venv and install hpcscale with everything that demo, test and check need

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "hpcscale needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,mpi,hf]'
	@touch $@

demo: $(INSTALLED) ## train a tiny GPT on 1 and 2 cores, print the scaling table, draw the chart (.demo/scaling.png)
	$(BIN)/hpcscale run studies/quickstart.yaml --out $(DEMO)/runs --rerun
	$(BIN)/hpcscale report studies/quickstart.yaml --runs $(DEMO)/runs --chart $(DEMO)/scaling.png > /dev/null
	@echo "chart: $(DEMO)/scaling.png"

# Tests of schedulers mostly wait, so they run beside the others, of which a third worker runs while two wait: CI has two cores.
# Bytecode is kept: a thousand processes start.
SCHEDULERS := tests/slurm tests/pjm
WORKERS ?= 3
test: $(INSTALLED) ## run the whole test suite
	@export OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=; \
	$(BIN)/python -m pytest $(SCHEDULERS) > $(VENV)/schedulers.log 2>&1 & beside=$$!; \
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(SCHEDULERS:%=--ignore=%) & main=$$!; \
	trap 'kill $$beside $$main; wait; exit 130' INT TERM; \
	wait $$main; main=$$?; wait $$beside; schedulers=$$?; \
	echo "$(SCHEDULERS):"; cat $(VENV)/schedulers.log; \
	exit $$((main > schedulers ? main : schedulers))

slurm: ## install what the tests on a real Slurm need (Debian, as root); nothing is started or configured
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	  slurm-wlm slurmdbd munge mariadb-server > /dev/null

check: $(INSTALLED) ## lint, formatting, types, and the direction of imports between rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(INSTALLED) ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: $(INSTALLED) ## measure the command line against a bare interpreter and a bare Jinja loop
	$(BIN)/python benchmarks/cli.py

benchmark-training: $(INSTALLED) ## measure training on this CPU against Hugging Face's Llama and bare matrix products
	$(BIN)/python benchmarks/training_cpu.py

benchmark-jobs: $(INSTALLED) ## measure submit and status of 1,000 points on a real Slurm against bare sbatch and squeue
	$(BIN)/python benchmarks/jobs.py

benchmark-cost: $(INSTALLED) ## measure predictions on published rows and here, and plan and search on many layouts
	$(BIN)/python benchmarks/prediction.py
	$(BIN)/python benchmarks/plan.py
	$(BIN)/python benchmarks/search.py
	$(BIN)/python benchmarks/local.py

benchmark-report: $(INSTALLED) ## measure reports of 10,000 points, the page in Chromium, and imports of large logs
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/page.py
	$(BIN)/python benchmarks/importing.py

clean: ## remove what make made, .venv included
	rm -rf $(VENV) $(DEMO) dist build .pytest_cache .ruff_cache .hypothesis
