#!/usr/bin/env bash
# docker/up.sh: start the services of compose.yaml, and say where they are.
set -euo pipefail
cd "$(dirname "$0")"

secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
if [ ! -e .env ]; then
  repository=$(cd .. && pwd)
  home=${CONVOY_HOME:-$repository/.convoy}
  # Airflow and the stages run as whoever owns the repository, and their files are that user's.
  uid=$(stat -c %u ..) gid=$(stat -c %g ..)
  install --directory --owner "$uid" --group "$gid" "$home"
  (
    umask 077
    # Aside and renamed: half a file would be taken for a whole one at the next start.
    cat >.env.part <<ENV
CONVOY_HOME=$home
CONVOY_REPOSITORY=$repository
CONVOY_UID=$uid
CONVOY_GID=$gid
POSTGRES_PASSWORD=$(secret)
AIRFLOW_ADMIN_PASSWORD=$(secret)
AIRFLOW_FERNET_KEY=$(head -c 32 /dev/urandom | base64 | tr '+/' '-_')
AIRFLOW_SECRET_KEY=$(secret)
AIRFLOW_JWT_SECRET=$(secret)
MLFLOW_ADMIN_PASSWORD=$(secret)
MLFLOW_SECRET_KEY=$(secret)
ENV
    mv .env.part .env
  )
fi

./compose.sh up --detach
set -a
. ./.env
cat <<WHERE
Airflow  http://127.0.0.1:${AIRFLOW_PORT:-8080}  admin  $AIRFLOW_ADMIN_PASSWORD
MLflow   http://127.0.0.1:${MLFLOW_PORT:-5000}  admin  $MLFLOW_ADMIN_PASSWORD
WHERE
