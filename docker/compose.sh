#!/usr/bin/env bash
# docker/compose.sh WORD…: Docker Compose, as docker's plugin or as the program of Debian's package.
set -euo pipefail
cd "$(dirname "$0")"
if docker compose version >/dev/null 2>&1; then exec docker compose --project-name convoy "$@"; fi
exec docker-compose --project-name convoy "$@"
