#!/bin/bash
# At the first start: a data folder whose users need a password, and the scripts of /docker-entrypoint-initdb.d.
set -eu
export PATH=$(echo /usr/lib/postgresql/*/bin):$PATH PGDATA=/var/lib/postgresql/data
if [ ! -e "$PGDATA/PG_VERSION" ]; then
  initdb --encoding UTF8 --locale C.UTF-8 --username postgres --auth-local trust --auth-host scram-sha-256 --pwfile <(echo "$POSTGRES_PASSWORD") >/dev/null
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  pg_ctl --wait --silent --options "-c listen_addresses=''" start
  for script in /docker-entrypoint-initdb.d/*.sh; do . "$script"; done
  pg_ctl --wait --silent stop
fi
exec postgres -c listen_addresses='*'
