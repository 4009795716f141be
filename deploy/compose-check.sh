#!/usr/bin/env bash
# Validates docker-compose.yml; needs Docker's compose plugin or Debian's docker-compose, but no Docker engine.
set -euo pipefail
cd "$(dirname "$0")/.."

if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
elif command -v docker-compose >/dev/null; then
    compose=(docker-compose)
else
    echo "compose-check: no compose tool here; on Debian: apt-get install docker-compose" >&2
    exit 1
fi

if POSTGRES_PASSWORD='' "${compose[@]}" config --quiet 2>/dev/null; then
    echo "compose-check: the file must refuse to start without POSTGRES_PASSWORD" >&2
    exit 1
fi
POSTGRES_PASSWORD=only-for-this-check "${compose[@]}" config --quiet
echo "docker-compose.yml is valid (${compose[*]}); it refuses to start without a database password"
