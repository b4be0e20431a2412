#!/bin/bash
# Run once by the PostgreSQL image, with the first start: a user and a database for each service.
set -eu
for user in airflow mlflow; do
  psql --username postgres --quiet --set ON_ERROR_STOP=1 --set user="$user" --set password="$POSTGRES_PASSWORD" <<'SQL'
CREATE ROLE :"user" LOGIN PASSWORD :'password';
CREATE DATABASE :"user" OWNER :"user";
SQL
done
psql --username postgres --quiet --set ON_ERROR_STOP=1 --command 'CREATE DATABASE mlflow_users OWNER mlflow'
