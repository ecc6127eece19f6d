#!/usr/bin/env bash
# The unit tests on another Python, in a virtual environment of its own below build/.
# Usage: test_python.sh PYTHON [what pytest is told]. PYTHON is a command, or `newest` for the newest one that this machine has.
set -euo pipefail
cd "$(dirname "$0")/.."

MINORS="14 13 12" # newest first; the oldest, 3.11, is what .venv is made with

works() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

newest() {
  local minor found
  for minor in $MINORS; do
    for found in "python3.$minor" "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$minor".*/bin/python; do
      works "$found" && { echo "$found"; return; }
    done
  done
}

python=${1:?a Python, or newest}
shift
if [ "$python" = newest ]; then
  python=$(newest)
  [ -n "$python" ] || { echo "no Python newer than 3.11 is here: only the oldest is tested"; exit 0; }
fi
works "$python" || { echo "$python does not run, or is older than 3.11: give PYTHON=/path/to/python3.13" >&2; exit 1; }

VENV=build/$("$python" -c 'import sys; print(f"python{sys.version_info.major}.{sys.version_info.minor}")')
export VENV
PYTHON=$python tools/setup.sh dev
"$VENV/bin/python" --version
"$VENV/bin/python" -m pytest -p no:cacheprovider --numprocesses logical --maxprocesses 4 --dist loadfile tests/unit "$@"
