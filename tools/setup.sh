#!/usr/bin/env bash
# Make .venv (or VENV) hold what is locked, by hash. Usage: setup.sh run|dev|lock. Does nothing where all is in place.
set -euo pipefail
cd "$(dirname "$0")/.."

what=${1:?run, dev or lock}
python=${PYTHON:-python3}
venv=${VENV:-.venv}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  { echo "propeller needs Python 3.11 or newer; $($python --version) is too old. Set PYTHON to a newer one." >&2; exit 1; }

make_venv() {
  [ -x "$venv/bin/python" ] && return
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
      { echo "Python's venv module is missing: install python3-venv" >&2; exit 1; }
    apt-get update -qq && apt-get install -y -qq python3-venv
  fi
  echo "setting up $venv"
  "$python" -m venv "$venv"
}

# uv, and what builds the package: by the pip that came with Python, which checks their hashes.
install_tools() {
  local stamp; stamp=$venv/.tools-$(sha256sum requirements-tools.lock | cut -c1-16)
  [ -e "$stamp" ] && return
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-tools.lock
  touch "$stamp"
}

lock() {
  compile requirements.lock --extra flytekit --extra s3 --extra redis --extra sql --extra connectors pyproject.toml
  compile requirements-dev.lock --extra flytekit --extra s3 --extra redis --extra sql --extra connectors --extra loadtest --group dev pyproject.toml
  compile requirements-image.lock --extra s3 --extra redis --extra sql --extra connectors --constraint requirements.lock pyproject.toml
  compile requirements-tools.lock --group tools --constraint requirements-dev.lock
  compile requirements-assets.lock --no-deps --group assets
}

compile() { # compile LOCKFILE WHAT...: versions that the file has are kept as long as they fit
  "$venv/bin/uv" pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-header --generate-hashes \
    --output-file "$@"
}

install() { # install LOCKFILE
  local stamp; stamp=$venv/.$(basename "$1")-$(cat "$1" pyproject.toml | sha256sum | cut -c1-16)
  [ -e "$stamp" ] && return
  echo "installing $1"
  "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --require-hashes -r "$1"
  # built by the hatchling that is locked, not by one that the build would fetch
  "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation --editable .
  touch "$stamp"
}

make_venv
install_tools
case $what in
  run) [ -n "$(ls "$venv"/.requirements-dev.lock-* 2>/dev/null)" ] || install requirements.lock ;;
  dev) install requirements-dev.lock ;;
  lock) lock ;;
  *) echo "setup.sh: run, dev or lock, not $what" >&2; exit 2 ;;
esac
