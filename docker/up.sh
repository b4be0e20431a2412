#!/usr/bin/env bash
# docker/up.sh: start the services of compose.yaml, and print their addresses and passwords.
#
# The first start writes the passwords into the file that compose.sh names. CONVOY_HOME=FOLDER: where stages keep
# cache and checkpoints; .convoy of the repository if not set.
#
# A rootless engine (recommended: a way out of a container then ends at an ordinary user) is used through
# DOCKER_SOCKET=$XDG_RUNTIME_DIR/docker.sock. Its user is root inside of containers, so services and stages run as
# 0:0 there. Limits of memory and processes need cgroup v2 with delegation (docs.docker.com/engine/security/rootless).
set -euo pipefail

export COMPOSE_PROJECT_NAME=${COMPOSE_PROJECT_NAME:-convoy}
export CONVOY_ENV=${CONVOY_ENV:-${XDG_CONFIG_HOME:-$HOME/.config}/convoy/$COMPOSE_PROJECT_NAME.env}
# Against the caller's folder, before that is left.
case $CONVOY_ENV in /*) ;; *) CONVOY_ENV=$PWD/$CONVOY_ENV ;; esac
case ${CONVOY_HOME:-/} in /*) ;; *) CONVOY_HOME=$PWD/$CONVOY_HOME ;; esac
cd "$(dirname "$0")"
repository=$(cd .. && pwd -P)
case $(realpath --canonicalize-missing "$CONVOY_ENV") in
  "$repository/docker/.env") ;;
  "$repository"/*)
    echo "error: CONVOY_ENV is $CONVOY_ENV, inside of the repository, which git and stages read; name one outside" >&2
    exit 1 ;;
esac

secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
# Single quotes: the shell and both kinds of Compose read what is between them as it is. Debian's Compose replaces
# ${ and \\ there, too.
setting() {
  case $2 in
    *"'"* | *'${'* | *'\\'*)
      echo "error: $1 is $2; neither a single quote nor \${ nor a doubled backslash is allowed in it" >&2
      exit 1 ;;
  esac
  printf "%s='%s'\n" "$1" "$2"
}
value() { sed -n "s/^$1=//p" "$CONVOY_ENV" | tail -1 | sed "s/^'\(.*\)'\$/\1/; s/^\"\(.*\)\"\$/\1/"; }
# Airflow and the stages run as the repository's owner, and their files are that user's.
uid=$(stat -c %u ..) gid=$(stat -c %g ..)
directory() { [ -d "$1" ] || install --directory --owner "$uid" --group "$gid" "$1"; }

if [ ! -e "$CONVOY_ENV" ] && [ -e .env ]; then
  # Of an earlier version: inside of the repository, every stage's container could read it.
  mkdir -p "$(dirname "$CONVOY_ENV")"
  (umask 077 && cp .env "$CONVOY_ENV.part")
  mv "$CONVOY_ENV.part" "$CONVOY_ENV"
  rm .env
  echo "moved docker/.env to $CONVOY_ENV"
fi
if [ ! -e "$CONVOY_ENV" ]; then
  home=${CONVOY_HOME:-$repository/.convoy}
  directory "$home"
  directory "$repository/datasets"
  # Every stage's container may write to it: a stage could exchange what it holds for a link.
  for path in "$repository/.git" "$(realpath "$repository/datasets")"; do
    case $path in "$(realpath "$home")"/*)
      echo "error: CONVOY_HOME is $home, which holds $path; name a folder of its own" >&2
      exit 1
      ;;
    esac
  done
  if [[ $(docker info --format '{{.SecurityOptions}}' 2>/dev/null) == *rootless* ]]; then uid=0 gid=0; fi
  mkdir -p "$(dirname "$CONVOY_ENV")"
  (
    umask 077
    # Written beside it and renamed: the next start would take half a file for a whole one.
    {
      # Without links: the proxy compares paths as text.
      setting CONVOY_HOME "$(realpath "$home")"
      setting CONVOY_REPOSITORY "$repository"
      setting CONVOY_DATA "$(realpath "$repository/datasets")"
      setting CONVOY_UID "$uid"
      setting CONVOY_GID "$gid"
      setting POSTGRES_PASSWORD "$(secret)"
      setting AIRFLOW_ADMIN_PASSWORD "$(secret)"
      setting AIRFLOW_FERNET_KEY "$(head -c 32 /dev/urandom | base64 | tr '+/' '-_')"
      setting AIRFLOW_SECRET_KEY "$(secret)"
      setting AIRFLOW_JWT_SECRET "$(secret)"
      setting MLFLOW_ADMIN_PASSWORD "$(secret)"
      setting MLFLOW_STAGES_PASSWORD "$(secret)"
      setting MLFLOW_SECRET_KEY "$(secret)"
    } >"$CONVOY_ENV.part"
    mv "$CONVOY_ENV.part" "$CONVOY_ENV"
  )
fi
# What a file of an earlier version lacks.
(
  umask 077
  [ -n "$(value MLFLOW_STAGES_PASSWORD)" ] || setting MLFLOW_STAGES_PASSWORD "$(secret)" >>"$CONVOY_ENV"
  [ -n "$(value CONVOY_DATA)" ] || setting CONVOY_DATA "$(realpath --canonicalize-missing "$repository/datasets")" >>"$CONVOY_ENV"
)
# Compose would make missing ones as root.
directory "$(value CONVOY_HOME)"
directory "$(value CONVOY_DATA)"
[ ! -d "$repository/.git" ] || directory "$repository/.git/refs/exps"
# It is mounted, and the image's user reads it; with the umask 077 it is the checkout's owner's alone.
[ -z "$(find postgres.sh ! -perm -005)" ] || chmod go+rx postgres.sh

./compose.sh up --detach
port() { local set; set=${!1:-$(value "$1")}; echo "${set:-$2}"; }
cat <<WHERE
Airflow  http://127.0.0.1:$(port AIRFLOW_PORT 8080)  admin  $(value AIRFLOW_ADMIN_PASSWORD)
MLflow   http://127.0.0.1:$(port MLFLOW_PORT 5000)  admin  $(value MLFLOW_ADMIN_PASSWORD)
WHERE
