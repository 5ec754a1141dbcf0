# Everything is done in .venv; each target does first what it needs.
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
RUN := auth,marketdata,prediction,trading,stack
export PATH := $(CURDIR)/$(BIN):$(PATH)
export UV_LINK_MODE := copy

.PHONY: help install up down test check gen format bench lint types contracts imports generated

help:
	@echo "install  the virtual environment .venv with everything, torch included"
	echo "up       start the whole mesh on this machine and watch it (Ctrl-C stops it)"
	echo "down     stop a mesh that runs in the background"
	echo "test     run all tests"
	echo "check    lint, types, contracts, import rules, generated code, tests: what CI runs"
	echo "gen      generate the stubs, docs/errors.md, docs/permissions.md and gateway/openapi.yaml from the contracts"
	echo "format   format code and contracts"
	echo "bench    run the benchmarks against a running mesh of their own"

# uv installs in seconds what pip does in minutes, and compiles it, so that every start is quick; pip itself brings uv, and torch (whose CPU build only pip finds).
$(BIN)/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt uv

.venv/.run: $(BIN)/uv pyproject.toml constraints.txt
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[$(RUN)]'
	touch $@

.venv/.dev: $(BIN)/uv pyproject.toml constraints.txt
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[$(RUN),dev]'
	touch $@ .venv/.run

install: .venv/.dev
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[train]'

up: .venv/.run
	levimesh up

down: .venv/.run
	levimesh down

test: .venv/.dev
	LEVIMESH_MARKETDATA="$${LEVIMESH_MARKETDATA:-$(CURDIR)/../shared/marketdata}" coverage run -m pytest
	coverage report

check: lint types contracts imports generated
	$(MAKE) test

lint: .venv/.dev
	ruff check
	ruff format --check

types: .venv/.dev
	mypy services sdk/python/levimesh/client gateway tests bench docs

contracts: .venv/.dev
	buf lint
	buf format --diff --exit-code proto
	if git cat-file -e main:buf.yaml 2>/dev/null; then
	  buf breaking --against '.git#branch=main'
	else
	  echo "there is no branch main here to compare the contracts with"
	fi

imports: .venv/.dev
	lint-imports

# The stubs and the generated pages in the repository are what the contracts give, to the byte.
generated: .venv/.dev
	fresh=$$(mktemp -d)
	trap 'rm -rf "$$fresh"' EXIT
	buf generate --output "$$fresh"
	for folder in buf levimesh; do (cd "$$fresh/sdk/python" && find $$folder -name '*_pb2*' -type f); done | while read -r file; do
	  cmp "$$fresh/sdk/python/$$file" "sdk/python/$$file" || { echo "run 'make gen' and commit the result"; exit 1; }
	done
	buf build --path proto/levimesh/common -o - | python -m docs.generate_errors "$$fresh/errors.md"
	python -m docs.generate_permissions "$$fresh/permissions.md"
	for page in errors permissions; do
	  cmp "$$fresh/$$page.md" "docs/$$page.md" || { echo "run 'make gen' and commit the result"; exit 1; }
	done
	buf build -o - | python -m gateway.openapi "$$fresh/openapi.yaml"
	cmp "$$fresh/openapi.yaml" gateway/openapi.yaml || { echo "run 'make gen' and commit the result"; exit 1; }

gen: .venv/.dev
	buf generate
	buf build --path proto/levimesh/common -o - | python -m docs.generate_errors docs/errors.md
	python -m docs.generate_permissions docs/permissions.md
	buf build -o - | python -m gateway.openapi gateway/openapi.yaml

format: .venv/.dev
	ruff check --fix --quiet || true
	ruff format
	buf format -w proto

bench: .venv/.dev
	python -m bench
