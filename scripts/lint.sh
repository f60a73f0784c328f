#!/usr/bin/env bash
# What ruff and mypy check, in the order in which they are quickest to fail.
set -euo pipefail
cd "$(dirname "$0")/.."

.venv/bin/ruff check --quiet .
.venv/bin/ruff format --quiet --check . || { .venv/bin/ruff format --check .; exit 1; }
.venv/bin/mypy
