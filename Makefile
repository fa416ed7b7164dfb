# Every command sets up what it needs by itself, from the hashed lock files. Needs Python >= 3.11, Node >= 20 and make.
#: ENV      which environment of cdk_app/environments.py (dev)
#: ARGS     further arguments: of operate, proxy, smoke, bench, bootstrap
#: URL      the endpoint for proxy and smoke
#: PORT     of local (9000; 0 picks a free one)
#: API      1: local opens the door for keys and tokens, too
#: PROMPT   of demo
#: YES      1: deploy, destroy, leftovers and deploy-roles ask nothing
#: AGAINST  the revision that template-diff compares with (main)
#: CHECK    1: prices fails when a listed model has ended or the list is old
#: QUICK    1: bench in under two minutes
#: PYTHON   the interpreter that makes .venv (python3)
PYTHON ?= python3
ENV ?= dev
# POSIX shells know a variable of this name, too: the path of a file. That one is not meant.
ifneq (,$(findstring /,$(ENV)))
override ENV := dev
endif
PORT ?= 9000
AGAINST ?= main
PROMPT ?= Why do streamed responses feel faster? Answer in three sentences.

# Stamps carry a checksum of the lock file they were made from: a changed lock is installed anew, an old checkout is not.
VENV := .venv
BIN := $(VENV)/bin
sum = $(shell cksum < $(1) | cut -d' ' -f1)
BASE := $(VENV)/.base-$(call sum,requirements.txt)
DEV := $(VENV)/.dev-$(call sum,requirements-dev.txt)
NODE := node_modules/.npm-$(call sum,package-lock.json)
CDK := PATH="$(CURDIR)/$(BIN):$$PATH" node_modules/.bin/cdk
# uv installs the same lock in a fifth of pip's time. Where it cannot, as with an index that only pip's settings name, pip does.
install = { command -v uv >/dev/null 2>&1 && \
	  uv pip install --quiet --require-hashes --python $(BIN)/python -r $(1) 2>/dev/null; } || \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-user -r $(1)
ASK_NOTHING := $(if $(YES),--require-approval never)

# The machine's settings for other programs do not take part: PYTHON* variables (another home, path or encoding), the
# CDK CLI's options as variables (another app or output folder), npm's (what to leave out, where to install). Where
# packages come from, proxies, certificates and AWS's own variables do.
unexport $(filter-out CDK_PROFILE,$(filter PYTHON% CDK_% PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_DRY_RUN PIP_PYTHON PIP_REQUIRE_VIRTUALENV NODE_ENV,$(.VARIABLES)))
# A temporary folder that is not there: Python would take another one, Node would fail.
ifeq ($(and $(TMPDIR),$(wildcard $(TMPDIR))),)
unexport TMPDIR
endif
export PYTHONUTF8 := 1
export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION := $(shell node -p 'process.versions.node.split(".")[0]' 2>/dev/null)

.PHONY: help demo local proxy operate test bundle synth snapshots bootstrap deploy deploy-local deploy-roles destroy leftovers diff template-diff smoke bench cost prices lock clean has-node
help:
	@echo "usage: make COMMAND [VARIABLE=value ...]"
	@echo
	@sed -n -E 's/^([a-z-]+):.*## (.*)/\1	\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'\t' '{ printf "  %-14s %s\n", $$1, $$2 }'
	@echo
	@sed -n 's/^#: /  /p' $(firstword $(MAKEFILE_LIST))

demo: $(BASE) $(NODE) ## one signed request through the local Lambda, streamed token by token
	@$(BIN)/python -m emulator demo --env $(ENV) --prompt '$(subst ','\'',$(PROMPT))'

local: $(BASE) $(NODE) ## the local endpoint, kept running (PORT=9000, 0 picks a free one)
	@$(BIN)/python -m emulator local --env $(ENV) --port $(PORT) $(if $(API),--api)

proxy: $(BASE) ## a local door for clients that cannot sign: make proxy URL=https://... [ARGS="--port 9100"]
	@$(if $(URL),,echo 'error: URL is missing: make proxy URL=https://... (output FunctionUrl)' >&2; exit 1)
	@$(BIN)/python -m clients.signing_proxy --target '$(URL)' $(ARGS)

operate: $(BASE) ## callers, usage and limits of ENV: make operate ENV=prod ARGS="usage" (ARGS=--help lists the commands)
	@$(BIN)/python -m operate --env $(ENV) $(or $(ARGS),--help)

test: $(DEV) $(NODE) ## everything that must pass
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh .ci/checks

bundle: $(BASE) ## build/lambda/: exactly the files of the function's zip
	@$(BIN)/python -m cdk_app.bundle.build build/lambda

synth: $(BASE) $(NODE) ## the CloudFormation templates of ENV, offline, into cdk.out/
	@$(CDK) synth --quiet --no-notices --output cdk.out -c env=$(ENV) '**'

snapshots: $(DEV) $(NODE) ## accept the templates as they are now (then look at the difference: git diff tests/snapshots)
	@$(BIN)/pytest -q tests/cdk_app -k 'accepted or documented' --accept-snapshots
	@$(BIN)/pytest -q tests/docs --accept-snapshots
	@$(BIN)/python -m bench.cost >/dev/null

bootstrap: $(BASE) $(NODE) ## prepare ENV's account for `deploy`, once: its region, and us-east-1 where there is an edge
	@$(CDK) bootstrap --no-notices -c env=$(ENV) $(ARGS)

deploy: $(BASE) $(NODE) ## deploy ENV (YES=1 asks nothing, for scripts)
	@$(BIN)/python -m operate.preflight --env $(ENV)
	@$(CDK) deploy --no-notices $(ASK_NOTHING) -c env=$(ENV) '**'

diff: $(BASE) $(NODE) ## what deploy would change
	@$(CDK) diff --no-notices -c env=$(ENV) '**'

template-diff: $(BASE) $(NODE) ## what this working copy does to every environment's templates, compared with AGAINST=main
	@$(BIN)/python -m cdk_app.checks.template_diff --base '$(AGAINST)'

destroy: $(BASE) $(NODE) ## remove ENV (YES=1 asks nothing)
	@$(CDK) destroy --no-notices $(if $(YES),--force) -c env=$(ENV) '**'
	@$(BIN)/python -m operate.preflight.leftovers --remove $(if $(YES),--yes) --env $(ENV)

leftovers: $(BASE) ## remove what ENV once built and builds no more: an edge or monitoring that was turned off (YES=1 asks nothing)
	@$(BIN)/python -m operate.preflight.leftovers --remove $(if $(YES),--yes) --env $(ENV)

deploy-local: $(BASE) $(NODE) ## deploy ENV to an AWS account that runs on this machine, check it, destroy it
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m emulator deploy --env $(ENV)

deploy-roles: $(BASE) $(NODE) ## the roles with which GitHub Actions deploys, in ENV's account: cdk_app/pipelines/repository.py
	@$(CDK) deploy --no-notices $(ASK_NOTHING) --app 'sh cdk_app/python.sh pipeline_app.py' --output build/pipelines.out -c env=$(ENV) pipelines

smoke: $(BASE) ## walk a deployment: make smoke URL=https://... [ARGS="--sign-host HOST --json FILE"] (ARGS=--help lists more)
	@$(BIN)/python -m clients.smoke $(ARGS) $(URL)

bench: bundle ## the relay beside its peers (QUICK=1 for under two minutes)
	@$(BIN)/python -m bench $(if $(QUICK),--quick) $(ARGS)

cost: $(BASE) ## the figures of docs/cost.md, from the prices in bench/scale.py and the accepted templates
	@$(BIN)/python -m bench.cost

prices: $(BASE) ## the relay's price list beside two public ones: what differs, is missing or ends soon (CHECK=1 may fail)
	@$(BIN)/python -m price_lists $(if $(CHECK),--check)

lock: ## recompile the lock files from requirements*.in (needs uv on PATH)
	sh .ci/lock

clean: ## remove everything that the other commands made
	rm -rf $(VENV) node_modules build cdk.out .pytest_cache .mypy_cache .ruff_cache

has-node:
	@node -e 'process.exit(+process.versions.node.split(".")[0] < 20 ? 1 : 0)' 2>/dev/null && command -v npm >/dev/null || \
	  { echo "error: Node >= 20 with npm is needed on PATH: nodejs.org" >&2; exit 1; }

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("error: Python >= 3.11 is needed; this is " + sys.version.split()[0] + " (set PYTHON=...)") if sys.version_info < (3, 11) else None'
	@echo "setting up .venv ..." >&2
	@$(PYTHON) -m venv $(VENV)

$(BASE): | $(VENV)/bin/python
	@echo "installing requirements.txt ..." >&2
	@$(call install,requirements.txt)
	@touch $@

$(DEV): | $(VENV)/bin/python
	@echo "installing requirements-dev.txt ..." >&2
	@$(call install,requirements-dev.txt)
	@touch $@

$(NODE): | has-node
	@echo "installing package-lock.json ..." >&2
	@npm ci --silent --no-audit --no-fund --include=prod --include=dev --location=project --no-global --no-dry-run
	@touch $@
