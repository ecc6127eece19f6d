#!/usr/bin/env bash
# The whole test suite, on each core, four at most: each process starts servers of its own, which take memory.
# The real components are built in the background while the tests that do not need them run.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${KUBEBUILDER_ASSETS:-}" ]; then
  export PROPELLER_ASSETS_BUILDING=1
  log=$(mktemp)
  python3 tools/assets.py >"$log" 2>&1 &
  builder=$!
  trap 'kill $builder 2>/dev/null || true; cat "$log"; rm -f "$log"' EXIT
fi
.venv/bin/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --durations 20 "$@"
