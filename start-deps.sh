#!/bin/sh
# Start Kafka and MongoDB: in containers where a Docker engine answers, else as processes of this machine (no Docker, no Java).
# Options are handed on: `docker compose up -d kafka mongodb OPTIONS` or `wf up --only kafka,mongodb OPTIONS`.
set -eu
cd "$(dirname "$0")"

# An engine that is installed but hangs must not keep anyone waiting; where there is no `timeout` (macOS), ask it without.
limit=""
command -v timeout >/dev/null 2>&1 && limit="timeout 10"

if command -v docker >/dev/null 2>&1 && $limit docker info >/dev/null 2>&1 && $limit docker compose version >/dev/null 2>&1; then
    exec docker compose up --detach --wait kafka mongodb "$@"
fi

echo "No Docker engine answers; starting Kafka and the database as processes of this machine (Ctrl-C stops them)."
[ -e .venv/installed ] || make .venv/installed
exec .venv/bin/wf up --only kafka,mongodb "$@"
