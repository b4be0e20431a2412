#!/usr/bin/env bash
# docker/compose.sh WORD…: Docker Compose, as docker's plugin or as the program of Debian's package.
# COMPOSE_PROJECT_NAME=NAME: another set of services beside the first, with volumes of its own.
#
# Passwords and paths are in ~/.config/convoy/NAME.env, or in CONVOY_ENV: outside of the repository, which is
# mounted into containers.
set -euo pipefail
export COMPOSE_PROJECT_NAME=${COMPOSE_PROJECT_NAME:-convoy}
export CONVOY_ENV=${CONVOY_ENV:-${XDG_CONFIG_HOME:-$HOME/.config}/convoy/$COMPOSE_PROJECT_NAME.env}
# Against the caller's folder, before that is left.
case $CONVOY_ENV in /*) ;; *) CONVOY_ENV=$PWD/$CONVOY_ENV ;; esac
cd "$(dirname "$0")"
# Compose of Debian gives an engine under load a minute for an answer.
export COMPOSE_HTTP_TIMEOUT=${COMPOSE_HTTP_TIMEOUT:-600}
[ -e "$CONVOY_ENV" ] || { echo "error: $CONVOY_ENV is missing; docker/up.sh (make up) writes it" >&2; exit 1; }
# The file decides, whatever the shell has: the first start chose these, paths have no links, and up.sh prints its
# passwords. Of the settings that a person adds, a variable of the shell counts.
unset CONVOY_HOME CONVOY_REPOSITORY CONVOY_DATA CONVOY_UID CONVOY_GID
unset POSTGRES_PASSWORD AIRFLOW_ADMIN_PASSWORD AIRFLOW_FERNET_KEY AIRFLOW_SECRET_KEY AIRFLOW_JWT_SECRET
unset MLFLOW_ADMIN_PASSWORD MLFLOW_STAGES_PASSWORD MLFLOW_SECRET_KEY
# The keys of a person's shell may be of another account, and the next `make up` may be without them.
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
if docker compose version >/dev/null 2>&1; then exec docker compose --env-file "$CONVOY_ENV" "$@"; fi
exec docker-compose --env-file "$CONVOY_ENV" "$@"
