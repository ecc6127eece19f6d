#!/usr/bin/env bash
# Make .venv hold what is locked. Usage: setup.sh run|dev|lock. Does nothing where all is in place.
set -euo pipefail
cd "$(dirname "$0")/.."

what=${1:?run, dev or lock}
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  { echo "propeller needs Python 3.11 or newer; $($python --version) is too old. Set PYTHON to a newer one." >&2; exit 1; }

make_venv() {
  [ -x .venv/bin/python ] && return
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
      { echo "Python's venv module is missing: install python3-venv" >&2; exit 1; }
    apt-get update -qq && apt-get install -y -qq python3-venv
  fi
  echo "setting up .venv"
  "$python" -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check uv
}

lock() {
  .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-header \
    --extra flytekit --extra s3 --extra redis --output-file requirements.lock pyproject.toml
  .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-header \
    --extra flytekit --extra s3 --extra redis --extra loadtest --group dev --output-file requirements-dev.lock pyproject.toml
}

install() { # install LOCKFILE
  local stamp; stamp=.venv/.$(basename "$1")-$(cat "$1" pyproject.toml | sha256sum | cut -c1-16)
  [ -e "$stamp" ] && return
  echo "installing $1"
  .venv/bin/uv pip install --quiet --python .venv/bin/python -r "$1"
  .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --editable .
  touch "$stamp"
}

make_venv
case $what in
  run) [ -n "$(ls .venv/.requirements-dev.lock-* 2>/dev/null)" ] || install requirements.lock ;;
  dev) install requirements-dev.lock ;;
  lock) lock ;;
  *) echo "setup.sh: run, dev or lock, not $what" >&2; exit 2 ;;
esac
