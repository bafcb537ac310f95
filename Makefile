# Everything a newcomer and a developer needs. Wants git, make and python3 (3.11 or newer, with venv).

# Debian's own where it will do: apt keeps it safe, and its build is a sixth faster than what pyenv compiles.
OWN := /usr/bin/python3
PYTHON ?= $(shell $(OWN) -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(OWN) || echo python3)
VENV := .venv
BIN := $(VENV)/bin
RELAY := $(BIN)/relay
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip --quiet
JOBS ?= 2
CONFIG ?= config/quickstart.yaml
KEYS := var/quickstart/dkim

define NEXT

Starting the relay; Ctrl-C stops it. Nothing leaves this machine: mail goes into the relay's sandbox.
In a second terminal, in this folder:

  . .venv/bin/activate
  relay send --to you@example.com          hand in a message; it prints what to look at next
  relay sandbox list                       what was received: stream, DKIM verdict, delay
  swaks --server 127.0.0.1:2525 --from shop@example.com --to you@example.com
  relay events tail --follow               what happens, as it happens
  relay status                             the relay itself; http://127.0.0.1:9125/metrics has figures

The mail is decided by policies/*.yaml: change them, then: relay check && relay reload
README.md goes on from here to production.

endef
export NEXT

.PHONY: run test coverage lint types bench simulate faults fuzz schemas freeze clean help
.DEFAULT_GOAL := help

help:            ## show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

run: $(VENV)/installed $(KEYS)/example.com/r1.pem $(KEYS)/example.com/r1e.pem  ## install, make a DKIM key, start the relay
	@$(RELAY) check --config $(CONFIG)
	@echo "$$NEXT"
	@exec $(RELAY) serve --config $(CONFIG)

# Two workers: many tests wait for a peer. Each has its own peers, ports and addresses (tests/peers/place.py).
test: $(VENV)/installed-test  ## run every test; those that need Debian's mail programs when they are there
	$(BIN)/pytest -n $(JOBS) --dist worksteal $(ARGS)

coverage: $(VENV)/installed-test  ## the unit tests alone take every branch of what is pure: core, policy, smtp
	$(BIN)/pytest tests/unit -n $(JOBS) --dist worksteal -q --cov=relay.core --cov=relay.policy --cov=relay.smtp \
	  --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=100 $(ARGS)

lint: $(VENV)/installed-test  ## ruff
	$(BIN)/ruff check .

types: $(VENV)/installed-test  ## mypy --strict
	$(BIN)/mypy

bench: $(VENV)/installed  ## messages a second, CPU and memory, beside Postfix + OpenDKIM where they are installed
	$(BIN)/python tests/bench/bench.py $(ARGS)

simulate: $(VENV)/installed-test  ## the scheduler on a virtual clock, a million messages
	SIMULATE_MESSAGES=100000 SIMULATE_SEEDS=200 $(BIN)/pytest tests/simulate --timeout 3600 -s $(ARGS)

faults: $(VENV)/installed-test  ## the fault plan in its long form, about two hours: nothing answered 250 is lost (needs gcc)
	RELAY_FAULTS=long RELAY_REQUIRE_PEERS=1 $(BIN)/pytest -q tests/faults $(ARGS)

fuzz: $(VENV)/installed-fuzz  ## random conversations and inputs for every parser, SECONDS each (60), guided by coverage
	RELAY_FUZZ=20 $(BIN)/pytest tests/hostile/test_model.py tests/fuzz --timeout 3600 -q
	@for target in $(or $(TARGETS),$(patsubst tests/fuzz/targets/%.py,%,$(wildcard tests/fuzz/targets/[a-z]*.py))); do \
	  $(BIN)/python -m tests.fuzz.run $$target $(or $(SECONDS),60) var/fuzz || exit 1; done

schemas: $(VENV)/installed  ## write the JSON Schemas of config and policies again
	$(BIN)/python -m relay.config.schema

freeze: $(VENV)/installed-fuzz  ## write constraints.txt from this environment
	@{ echo '# Exact versions for `make run` and `make test`; written by `make freeze` from a tested environment.'; \
	  { $(BIN)/python -m pip freeze --exclude-editable --exclude smtp-relay; grep '^setuptools==' constraints.txt; } \
	  | LC_ALL=C sort -f; } > constraints.new && mv constraints.new constraints.txt

clean:           ## remove the environment, caches and the quickstart's data
	rm -rf $(VENV) var build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "$(PYTHON) is %d.%d; the relay needs 3.11 or newer: make run PYTHON=python3.12" % sys.version_info[:2])'
	@echo "making the environment in $(VENV) with $(PYTHON) (once)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make an environment: apt install python3-venv"; exit 1; }

# pip before 22.3 reads constraints for builds wrongly; a newer one stays as it is.
$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing the relay into $(VENV)"
	@$(PIP) install 'pip>=22.3'
	@$(PIP) install --editable .
	@touch $@

$(VENV)/installed-test: pyproject.toml constraints.txt | $(VENV)/installed
	@echo "installing what the tests need"
	@$(PIP) install --editable '.[test]'
	@touch $@

$(VENV)/installed-fuzz: pyproject.toml constraints.txt | $(VENV)/installed-test
	@echo "installing atheris"
	@$(PIP) install --editable '.[test,fuzz]'
	@touch $@

# Two keys of different kinds sign every message: RSA for everyone, Ed25519 (RFC 8463) for those who read it.
$(KEYS)/example.com/r1.pem: | $(VENV)/installed
	@$(RELAY) dkim generate example.com r1 --algorithm rsa --keys $(KEYS) >/dev/null
	@echo "made a DKIM key: $@"

$(KEYS)/example.com/r1e.pem: | $(VENV)/installed
	@$(RELAY) dkim generate example.com r1e --algorithm ed25519 --keys $(KEYS) >/dev/null
	@echo "made a DKIM key: $@"
