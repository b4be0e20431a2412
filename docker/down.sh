#!/usr/bin/env bash
# docker/down.sh [WORD…]: stop the services of compose.yaml and compose.dask.yaml and the stages' containers, and
# remove them; volumes stay. WORD…: of `docker compose down`.
set -euo pipefail
compose=$(dirname "$0")/compose.sh

# Before the stages, which it would start again.
"$compose" stop scheduler
# Compose does not know the stages' containers, and cannot remove a network that one is on.
stages=$(docker ps --all --quiet --filter "label=org.convoy.stack=${COMPOSE_PROJECT_NAME:-convoy}")
if [ -n "$stages" ]; then
  # As many seconds as the proxy gives a stage for its checkpoint. The proxy may remove one in between.
  docker stop --time 30 $stages >/dev/null || true
  docker rm --force --volumes $stages >/dev/null || true
fi
"$compose" down --remove-orphans "$@"
