# Two commands are all a newcomer needs: `make demo` and `make test`. Each sets up what it needs, once.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { command -v $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
CACHE := .cache

.PHONY: help demo test check run format documents crash bench soak image-steps clean install-systemd

help:
	@echo "make demo    everything on this machine: broker, simulated vendor clouds, gateway, status page"
	@echo "make test    all tests (sets everything up, also installs Mosquitto and Chromium where they are missing)"
	@echo "make check   static checks: format, lint, types, import rules"
	@echo "make run CONFIG=config.yaml    the gateway"
	@echo "make crash   kill -9 at 320 moments while money and switches are under way (about ten minutes)"
	@echo "make bench   the gateway beside a reference, a naive script and Node-RED; commands there and back (eight minutes)"
	@echo "make soak    a quarter of an hour of pushes, with memory watched"
	@echo "make image-steps    the steps of the Dockerfile in a clean chroot, where no Docker engine is (as root, two minutes)"
	@echo "make format  formats the code"
	@echo "make install-systemd    installs into /opt/meterbridge, with unit and example configuration (as root)"
	@echo "make documents  makes docs/asyncapi.yaml and docs/schemas again, after a change of payloads or commands"

demo: $(VENV)/.demo
	@$(BIN)/meterbridge demo $(ARGS)

test: $(VENV)/.dev test-programs $(CACHE)/homeassistant.stamp $(CACHE)/node.stamp
	@PATH="$$PATH:/usr/sbin" $(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check bridge tests
	$(BIN)/ruff check bridge tests
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

run: $(VENV)/.demo
	@$(BIN)/meterbridge run -c $(or $(CONFIG),config.yaml)

bench: $(VENV)/.dev test-programs
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@PATH="$$PATH:/usr/sbin" $(BIN)/python -m benchmarks.throughput $(ARGS)
	@PATH="$$PATH:/usr/sbin" $(BIN)/python -m benchmarks.commands
	@PATH="$$PATH:/usr/sbin" $(BIN)/python -m benchmarks.crowd

soak: $(VENV)/.dev test-programs
	@PATH="$$PATH:/usr/sbin" $(BIN)/python -m benchmarks.soak $(ARGS)

image-steps: $(VENV)/.dev
	@PATH="$$PATH:/usr/sbin"; command -v debootstrap >/dev/null 2>&1 \
		|| $(MAKE) --no-print-directory install-package PACKAGE=debootstrap
	@PATH="$$PATH:/usr/sbin" $(BIN)/python -m tests.images.chroot

format: $(VENV)/.dev
	$(BIN)/ruff format bridge tests
	$(BIN)/ruff check --fix bridge tests

# What is made from the models and read by people and programs: docs/asyncapi.yaml, docs/schemas/.
documents: $(VENV)/.dev
	$(BIN)/meterbridge asyncapi > docs/asyncapi.yaml
	$(BIN)/meterbridge schema --into docs/schemas

# DESTDIR puts all of it below another folder, to look at it. What is left in build/ would be root's, and the next version
# would be installed with the modules that it no longer has.
install-systemd:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: apt-get install python3"; exit 1; }
	"$(PYTHON)" -m venv $(DESTDIR)/opt/meterbridge
	rm -rf build
	$(DESTDIR)/opt/meterbridge/bin/python -m pip install --quiet --disable-pip-version-check .
	rm -rf build
	install -D -m 0644 README.md $(DESTDIR)/opt/meterbridge/README.md
	install -D -m 0644 systemd/meterbridge.service $(DESTDIR)/etc/systemd/system/meterbridge.service
	install -d -m 0755 $(DESTDIR)/etc/meterbridge
	install -m 0644 config.example.yaml $(DESTDIR)/etc/meterbridge/config.example.yaml
	install -d -m 0700 $(DESTDIR)/etc/meterbridge/secrets
	@test -n "$(DESTDIR)" || systemctl daemon-reload
	@echo "next: write /etc/meterbridge/config.yaml (beside it: config.example.yaml), then systemctl enable --now meterbridge"

crash: $(VENV)/.dev test-programs
	@PATH="$$PATH:/usr/sbin" METERBRIDGE_KILLS=$(or $(KILLS),320) $(BIN)/python -m pytest -q -s tests/crash/test_money_survives_kills.py

clean:
	rm -rf $(VENV) $(CACHE) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: apt-get install python3"; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || $(MAKE) --no-print-directory install-package \
		PACKAGE=$$("$(PYTHON)" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')
	@echo "setting up $(VENV) …"
	@"$(PYTHON)" -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	@echo "installing meterbridge and what it needs …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	@echo "installing meterbridge, what it needs and its development tools …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo,dev]'
	@touch $@ $(VENV)/.demo

# Home Assistant's own schemas, which judge the discovery messages in the tests.
$(CACHE)/homeassistant.stamp: $(wildcard tests/users/home_assistant/requirements-*.txt) | $(VENV)/.dev
	@echo "installing Home Assistant's schemas for the tests …"
	@mkdir -p $(CACHE)
	@$(BIN)/python tests/users/home_assistant/install.py $(CACHE)/homeassistant
	@touch $@

# Node-RED, in which the example flows are tested, and the official schema of AsyncAPI. 18 is what Debian 12 has.
$(CACHE)/node.stamp: tests/users/node/package.json
	@node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' 2>/dev/null \
		|| $(MAKE) --no-print-directory install-package PACKAGE=nodejs
	@command -v npm >/dev/null 2>&1 || $(MAKE) --no-print-directory install-package PACKAGE=npm
	@echo "installing Node-RED for the tests …"
	@mkdir -p $(CACHE)/node
	@cp tests/users/node/package.json tests/users/node/.npmrc $(CACHE)/node
	@cd $(CACHE)/node && npm install --loglevel=error
	@touch $@

.PHONY: test-programs install-package
# The broker of the tests with its clients, what makes throw-away certificates and calls, a browser for the status page.
test-programs:
	@PATH="$$PATH:/usr/sbin"; for program in mosquitto mosquitto_sub:mosquitto-clients openssl curl chromium chromedriver:chromium-driver; do \
		command -v $${program%%:*} >/dev/null 2>&1 \
			|| $(MAKE) --no-print-directory install-package PACKAGE=$${program##*:} || exit 1; done

# Installs a Debian package, if this user may; else says the one command that does it.
install-package:
	@echo "installing the package $(PACKAGE) …"
	@if [ "$$(id -u)" = 0 ]; then sudo=; elif sudo -n true 2>/dev/null; then sudo=sudo; else \
		echo "please run once: sudo apt-get install -y $(PACKAGE)"; exit 1; fi; \
	export DEBIAN_FRONTEND=noninteractive; \
	$$sudo apt-get install -y -qq $(PACKAGE) >/dev/null 2>&1 \
		|| { $$sudo apt-get update -qq && $$sudo apt-get install -y -qq $(PACKAGE) >/dev/null; }
