#!/bin/sh
# airflow.sh COMPONENT: one of Airflow's services, with the user admin and the password in ADMIN_PASSWORD.
set -eu
umask 077
# The simple auth manager takes passwords from this file alone.
AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE=$HOME/passwords.json
export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE
python -c 'import json, os; print(json.dumps({"admin": os.environ["ADMIN_PASSWORD"]}))' \
  >"$AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"
export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS=admin:admin
unset ADMIN_PASSWORD
exec airflow "$@"
