#!/bin/sh
# Start MLflow's server with authentication. The environment says:
#   MLFLOW_DATABASE             the runs' database: postgresql://…, without a password
#   MLFLOW_USERS_DATABASE       the users' database, likewise
#   PGPASSWORD                  the databases' password; in a URL, some characters would need quoting
#   MLFLOW_AUTH_ADMIN_PASSWORD  of the user admin, set when the users' database is made; 12 characters or more
#   MLFLOW_FLASK_SERVER_SECRET_KEY
#   MLFLOW_ALLOWED_HOSTS        names under which the server may be called
#   MLFLOW_ARTIFACTS            where artifacts go, /artifacts or s3://BUCKET/FOLDER
#   AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, MLFLOW_S3_ENDPOINT_URL
#                               the login there; the address of a store other than Amazon's
set -eu
umask 077
MLFLOW_AUTH_CONFIG_PATH=$HOME/auth.ini
cat >"$MLFLOW_AUTH_CONFIG_PATH" <<INI
[mlflow]
default_permission = READ
database_uri = $MLFLOW_USERS_DATABASE
admin_username = admin
# A password takes 0.13 s of a core to check, and a model is a hundred requests. A password that was changed may
# be good for this many seconds more.
auth_cache_ttl_seconds = 60
INI
export MLFLOW_AUTH_CONFIG_PATH
# A worker that does not answer for this long is replaced. With uvicorn's 5 seconds, workers of a busy machine were
# replaced while they started, for ever.
exec mlflow server --app-name basic-auth --host 0.0.0.0 --port 5000 --workers 2 \
  --uvicorn-opts "--timeout-worker-healthcheck 60" \
  --backend-store-uri "$MLFLOW_DATABASE" \
  --artifacts-destination "${MLFLOW_ARTIFACTS:-/artifacts}" \
  --allowed-hosts "$MLFLOW_ALLOWED_HOSTS"
