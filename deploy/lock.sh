#!/usr/bin/env bash
# Pins every direct and indirect dependency by exact version. Usage: deploy/lock.sh PATH/pip-compile [--upgrade]
# Run it on Python 3.11, the oldest supported: what is pinned there also installs on 3.12 and 3.13.
set -euo pipefail
cd "$(dirname "$0")/.."
compile=("$@" --quiet --strip-extras --allow-unsafe --no-emit-options pyproject.toml)
export CUSTOM_COMPILE_COMMAND="make lock"

# A local label (torch 2.13.0+cpu) names one build; without it pip takes whichever build the machine can find.
drop_local_label() { sed -i.bak -E 's/^([a-z0-9-]+==[^+ ]+)\+[^ ]+/\1/' "$1" && rm -f "$1.bak"; }

"${compile[@]}" --output-file requirements.lock
drop_local_label requirements.lock
"${compile[@]}" --extra dev --extra benchmarks --constraint requirements.lock --output-file requirements-dev.lock
drop_local_label requirements-dev.lock

if grep -niE '^(nvidia|triton|cuda)|://|^-' requirements.lock requirements-dev.lock; then
    echo "lock.sh: the lock must name no CUDA package, address or option; compile it where pip finds torch's CPU build" >&2
    exit 1
fi
