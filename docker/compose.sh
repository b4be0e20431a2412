#!/usr/bin/env bash
# docker/compose.sh WORD…: Docker Compose, as docker's plugin or as the program of Debian's package.
# COMPOSE_PROJECT_NAME=NAME: another set of services beside the first, with volumes of its own.
set -euo pipefail
cd "$(dirname "$0")"
export COMPOSE_PROJECT_NAME=${COMPOSE_PROJECT_NAME:-convoy}
if docker compose version >/dev/null 2>&1; then exec docker compose "$@"; fi
exec docker-compose "$@"
