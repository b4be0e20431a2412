#!/bin/sh
# airflow.sh COMPONENT: one of Airflow's services, with the user admin and the password in ADMIN_PASSWORD.
set -eu
umask 077
# The simple auth manager takes passwords from this file alone.
passwords=$HOME/passwords.json
printf '{"admin": "%s"}\n' "$ADMIN_PASSWORD" >"$passwords"
export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE="$passwords"
export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS=admin:admin
unset ADMIN_PASSWORD
exec airflow "$@"
