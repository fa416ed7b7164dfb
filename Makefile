# Every command sets up what it needs by itself, from the hashed lock files. Needs Python >= 3.11, Node >= 20 and make.
PYTHON ?= python3
ENV ?= dev
PORT ?= 9000
AGAINST ?= main
PROMPT ?= Why do streamed answers feel faster? Answer in three sentences.

# Stamps carry a checksum of the lock file they were made from: a changed lock is installed anew, an old checkout is not.
VENV := .venv
BIN := $(VENV)/bin
sum = $(shell cksum < $(1) | cut -d' ' -f1)
BASE := $(VENV)/.base-$(call sum,requirements.txt)
DEV := $(VENV)/.dev-$(call sum,requirements-dev.txt)
NODE := node_modules/.npm-$(call sum,package-lock.json)
CDK := PATH="$(CURDIR)/$(BIN):$$PATH" node_modules/.bin/cdk

export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION := $(shell node -p 'process.versions.node.split(".")[0]' 2>/dev/null)

.PHONY: help demo local test bundle synth snapshots deploy deploy-local deploy-roles destroy diff template-diff smoke bench cost lock clean
help:
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

demo: $(BASE) $(NODE) ## one signed request through the local Lambda, answered token by token
	@$(BIN)/python -m emulator demo --env $(ENV) --prompt '$(subst ','\'',$(PROMPT))'

local: $(BASE) $(NODE) ## the local endpoint, kept running (PORT=9000, 0 picks a free one)
	@$(BIN)/python -m emulator local --env $(ENV) --port $(PORT)

test: $(DEV) $(NODE) ## everything that must pass
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh .ci/checks

bundle: $(BASE) ## build/lambda/: exactly the files of the function's zip
	@$(BIN)/python -m cdk_app.bundle.build build/lambda

synth: $(BASE) $(NODE) ## the CloudFormation templates of ENV, offline, into cdk.out/
	@$(CDK) synth --quiet --no-notices -c env=$(ENV) '**'

snapshots: $(DEV) $(NODE) ## accept the templates as they are now (then look at the difference: git diff tests/snapshots)
	@$(BIN)/pytest -q tests/cdk_app/test_stage.py tests/cdk_app/pipelines/test_roles.py -k accepted --accept-snapshots
	@$(BIN)/pytest -q tests/docs --accept-snapshots
	@$(BIN)/python -m bench.cost >/dev/null

deploy: $(BASE) $(NODE) ## deploy ENV (YES=1 asks nothing, for scripts)
	@$(CDK) deploy --no-notices $(if $(YES),--require-approval never) -c env=$(ENV) '**'

diff: $(BASE) $(NODE) ## what deploy would change
	@$(CDK) diff --no-notices -c env=$(ENV) '**'

template-diff: $(BASE) $(NODE) ## what this working copy does to every environment's templates, compared with AGAINST=main
	@$(BIN)/python -m cdk_app.checks.template_diff --base '$(AGAINST)'

destroy: $(BASE) $(NODE) ## remove ENV (YES=1 asks nothing)
	@$(CDK) destroy --no-notices $(if $(YES),--force) -c env=$(ENV) '**'

deploy-local: $(BASE) $(NODE) ## deploy ENV to an AWS account that runs on this machine, check it, destroy it
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m emulator rehearse --env $(ENV)

deploy-roles: $(BASE) $(NODE) ## the roles with which GitHub Actions deploys, in ENV's account: cdk_app/pipelines/repository.py
	@$(CDK) deploy --no-notices $(if $(YES),--require-approval never) --app 'python pipeline_app.py' --output build/pipelines.out -c env=$(ENV) pipelines

smoke: $(BASE) ## check a deployed endpoint: make smoke URL=https://... [ARGS="--sign-host HOST --model NAME"]
	@$(BIN)/python -m clients.smoke $(ARGS) $(URL)

bench: bundle ## the relay beside its peers (QUICK=1 for under two minutes)
	@$(BIN)/python -m bench $(if $(QUICK),--quick) $(ARGS)

cost: $(BASE) ## the figures of docs/cost.md, from the prices in bench/scale.py and the accepted templates
	@$(BIN)/python -m bench.cost

lock: ## recompile the lock files from requirements*.in (needs uv on PATH)
	sh .ci/lock

clean: ## remove everything that the other commands made
	rm -rf $(VENV) node_modules build cdk.out .pytest_cache .mypy_cache .ruff_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python >= 3.11 is needed; this is " + sys.version.split()[0] + " (set PYTHON=...)") if sys.version_info < (3, 11) else None'
	@echo "setting up .venv ..." >&2
	@$(PYTHON) -m venv $(VENV)

$(BASE): | $(VENV)/bin/python
	@echo "installing requirements.txt ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(DEV): | $(VENV)/bin/python
	@echo "installing requirements-dev.txt ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

$(NODE):
	@command -v npm >/dev/null || { echo "Node >= 20 with npm is needed (nodejs.org)" >&2; exit 1; }
	@echo "installing package-lock.json ..." >&2
	@npm ci --silent --no-audit --no-fund
	@touch $@
