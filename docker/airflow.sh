#!/bin/sh
# airflow.sh COMPONENT: one of Airflow's services, with the user admin and the password in ADMIN_PASSWORD.
#
# Airflow's Helm chart passes whole commands, as for the image of Airflow's project: `bash -c "exec airflow scheduler"`,
# `airflow db check-migrations`. Its probes call this file by that image's name for it, /entrypoint.
set -eu
umask 077
# The simple auth manager takes passwords from this file alone.
AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE=$HOME/passwords.json
export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE
python -c 'import json, os; print(json.dumps({"admin": os.environ["ADMIN_PASSWORD"]}))' \
  >"$AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"
export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS=admin:admin
unset ADMIN_PASSWORD
case $1 in airflow | bash) exec "$@" ;; esac
exec airflow "$@"
