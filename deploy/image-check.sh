#!/usr/bin/env bash
# Builds the Dockerfile and runs its image for real, without a Docker engine or an image registry. As root, on Debian:
#     apt-get install buildah podman runc debootstrap && make image-check
# A debootstrapped Debian stands in for the base image. Everything lives in one folder, removed at the end.
#
# From the environment, all optional:
#     DEBIAN_MIRROR        where debootstrap finds its packages
#     PIP_FIND_LINKS       a folder of wheels for the build, such as torch's CPU build
#     PIP_EXTRA_INDEX_URL  another package index for the build
#     PIP_CERT             certificates that the build trusts, where the network has its own
#     WORK_FOLDER          where the folder is made: about 6 GB (/var/tmp)
#     STORAGE_DRIVER       overlay, or vfs where overlay file systems can't be mounted: slower, 20 GB (overlay)
set -euo pipefail
cd "$(dirname "$0")/.."

mirror="${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
base=localhost/debian-python
image=localhost/thetaprime
user=10001

for tool in debootstrap buildah podman runc; do
    command -v "$tool" >/dev/null ||
        { echo "image-check: no $tool here; on Debian: apt-get install buildah podman runc debootstrap" >&2; exit 1; }
done
[ "$(id -u)" -eq 0 ] || { echo "image-check: debootstrap and the chroot build need root" >&2; exit 1; }

work="$(mktemp -d "${WORK_FOLDER:-/var/tmp}/thetaprime-image.XXXXXX")"
storage=(--root "$work/storage" --runroot "$work/run" --storage-driver "${STORAGE_DRIVER:-overlay}")
buildah() { command buildah "${storage[@]}" "$@"; }
podman() { command podman "${storage[@]}" --tmpdir "$work/tmp" --runtime runc --cgroup-manager cgroupfs --events-backend none "$@"; }
export DISABLE_HC_SYSTEMD=true  # podman would have systemd call the health check; here it is called by hand

section() { printf '\n=== %s (%ss)\n' "$1" "$SECONDS"; }

# expect WHAT COMMAND...: the command must succeed;  refuse WHAT COMMAND...: it must fail.
expect() { if "${@:2}" >"$work/output" 2>&1; then echo "ok    $1"; else broken "$1"; fi; }
refuse() { if "${@:2}" >"$work/output" 2>&1; then broken "$1"; else echo "ok    $1"; fi; }
broken() { echo "FAIL  $1" >&2; cat "$work/output" >&2; exit 1; }

clean_up() {
    local status=$?
    if [ "$status" -ne 0 ]; then
        for name in $(podman ps --all --format '{{.Names}}' 2>/dev/null); do
            echo "--- $name" >&2
            podman logs --tail 30 "$name" >&2 || true
        done
    fi
    podman rm --all --force --time 10 >/dev/null 2>&1 || true
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT

make_base_image() {
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$work/base" "$mirror" \
        >"$work/output" || { tail -20 "$work/output" >&2; return 1; }
    rm -rf "$work"/base/var/cache/apt/* "$work"/base/var/lib/apt/lists/*
    local container
    container="$(buildah from scratch 2>>"$work/output")"
    buildah add --quiet "$container" "$work/base" / >>"$work/output" 2>&1
    buildah commit --quiet --rm "$container" "$base" >>"$work/output" 2>&1
    rm -rf "$work/base"
}

build_image() {
    local options=(--format docker --isolation chroot --network host --build-arg "BASE_IMAGE=$base" --tag "$image")
    if [ -n "${PIP_FIND_LINKS:-}${PIP_EXTRA_INDEX_URL:-}" ]; then
        options+=(--build-arg "PIP_EXTRA_INDEX_URL=${PIP_EXTRA_INDEX_URL:-}")
    fi
    if [ -n "${PIP_FIND_LINKS:-}" ]; then
        options+=(--volume "$PIP_FIND_LINKS:/wheels:ro" --build-arg PIP_FIND_LINKS=/wheels)
    fi
    if [ -n "${PIP_CERT:-}" ]; then
        options+=(--volume "$PIP_CERT:/certificates.pem:ro" --build-arg PIP_CERT=/certificates.pem)
    fi
    buildah bud --quiet "${options[@]}" . >"$work/build.log" 2>&1 || { tail -40 "$work/build.log" >&2; return 1; }
    rm -rf /var/tmp/buildah-cache-0
}

# As docker-compose.yml runs them; no network at all but their own loopback: the database is reached by its socket.
start() {
    podman run --detach --name "$1" --network none --read-only --read-only-tmpfs=false --tmpfs /tmp \
        --cap-drop ALL --security-opt no-new-privileges --ulimit nofile=4096:4096 --ulimit nproc=4096:4096 \
        --volume "$work/database:/database" --env DATABASE_URL --env PGPASSWORD "${@:2}" >/dev/null
}
run_once() { start "$@" && [ "$(podman wait "$1")" -eq 0 ]; }
in_api() { podman exec api "$@"; }
get() {
    in_api python3 -c '
import sys, urllib.request
try:
    urllib.request.urlopen("http://127.0.0.1:8000" + sys.argv[1], timeout=5)
except OSError as fault:
    sys.exit(f"{sys.argv[1]}: {fault}")' "$1"
}
patiently() {
    for _ in $(seq 60); do
        if "$@" >"$work/attempt" 2>&1; then return; fi
        sleep 1
    done
    cat "$work/attempt"
    return 1
}
is_running() { [ "$(podman inspect --format '{{.State.Running}}' "$1")" = true ]; }
process_status() { in_api grep -qE "$1" /proc/1/status; }
exit_code() { podman inspect --format '{{.State.ExitCode}}' "$1"; }
stops_cleanly() { podman stop --time 30 "$1" && [[ "$(exit_code "$1")" =~ ^(0|143)$ ]]; }  # 143: ended by SIGTERM; 137: killed

start_database() {
    install --directory --owner "$user" --group "$user" --mode 700 "$work/database"
    start database --entrypoint python3 "$image" -c '
import signal
from pathlib import Path
from sqlalchemy import make_url
from app.embedded_postgres import EmbeddedPostgres
with EmbeddedPostgres(Path("/database/data")) as server:
    url = make_url(server.create_database("thetaprime")).set(drivername="postgresql")
    Path("/database/password").write_text(url.password)
    Path("/database/url").write_text(url._replace(password=None).render_as_string())
    signal.pause()'
    patiently test -s "$work/database/url"
    DATABASE_URL="$(cat "$work/database/url")"
    PGPASSWORD="$(cat "$work/database/password")"
    export DATABASE_URL PGPASSWORD
}

section "base image: Debian and its python3"
make_base_image
section "build"
build_image
buildah images --format '{{.Name}} {{.Size}}'

section "what is in it"
inspect() { podman run --rm --network none --ulimit nofile=4096:4096 --ulimit nproc=4096:4096 --entrypoint /bin/sh "$image" -c "$1"; }
expect "thetaprime is there" inspect 'thetaprime --help'
expect "torch is the CPU build" inspect 'python3 -c "import torch; assert torch.version.cuda is None"'
refuse "no compiler, no pip" inspect 'command -v cc || command -v gcc || command -v g++ || command -v pip || python3 -m pip --version'

section "a database, then migrate"
expect "PostgreSQL answers on its socket" start_database
expect "migrate brings an empty database to the newest schema" run_once migrate "$image" migrate
expect "a second migrate has nothing to do" run_once migrate-again "$image" migrate

section "api and worker"
start api "$image"
start worker "$image" worker
expect "/livez answers 200" patiently get /livez
expect "/readyz answers 200: the database is reached and migrated" patiently get /readyz
expect "/docs and /openapi.json answer 200" eval 'get /docs && get /openapi.json'
expect "the image's health check passes" podman healthcheck run api
expect "runs as user $user" test "$(in_api id -u)" = "$user"
refuse "the file system can't be written" in_api touch /opt/thetaprime/file
expect "/tmp can be written" in_api touch /tmp/file
expect "no capability is left" process_status '^CapEff:\s*0+$'
expect "no new privileges can be had" process_status '^NoNewPrivs:\s*1$'
expect "the worker still runs" is_running worker

section "learn, adapt, score"
expect "the demo's walk passes under the same restrictions" run_once demo "$image" demo --quick --exit
podman logs --tail 25 demo

section "a clean stop"
for name in worker api; do expect "$name ends by itself when asked" stops_cleanly "$name"; done
section "done"
