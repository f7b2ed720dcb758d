#!/usr/bin/env bash
# Refreshes the lock files from pyproject.toml: `make lock`, or `make lock UPGRADE=--upgrade`.
#
# Each file pins every package, with hashes, for all supported Pythons and platforms (environment markers choose), so
# that plain pip installs it. `uv` resolves; it runs from a throw-away environment and is needed for nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"${PYTHON:-python3}" -m venv "$tools"
"$tools/bin/pip" install --quiet --disable-pip-version-check uv

# The largest set first; the others take their versions from it.
lock() {
    local file=requirements/$1.txt
    shift
    "$tools/bin/uv" pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --annotation-style line --custom-compile-command "make lock" \
        --output-file "$file" "$@" pyproject.toml
}

lock development --extra trainer --extra heic --extra parquet --group dev "$@"
lock trainer --extra trainer --group build --constraint requirements/development.txt
lock serving --group build --constraint requirements/development.txt
