#!/bin/sh
# Runs at every start, before the services: a role for each of them, with the password of today, and a schema of its name.
set -eu
secrets=${LEVIMESH_SECRETS_DIR:-/run/secrets}
definitions=${LEVIMESH_ROLES_DIR:-/roles}
# By a variable and not an argument, which every process of the container could read.
PGPASSWORD=$(cat "$secrets/POSTGRES_PASSWORD")
export PGPASSWORD PGUSER=postgres PGDATABASE="${PGDATABASE:-levimesh}" PGOPTIONS="--client-min-messages=warning"
as_superuser() { psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 "$@"; }

as_superuser <<'SQL'
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
SQL

provide() {
  export PASSWORD_FILE="$secrets/$2"
  as_superuser --set role="$1" <<'SQL'
\set password `cat "$PASSWORD_FILE"`
SELECT format('CREATE ROLE %I', :'role') WHERE to_regrole(quote_ident(:'role')) IS NULL
\gexec
ALTER ROLE :"role" LOGIN PASSWORD :'password';
GRANT CONNECT, TEMPORARY ON DATABASE :"DBNAME" TO :"role";
CREATE SCHEMA IF NOT EXISTS :"role" AUTHORIZATION :"role";
SQL
  if [ -f "$definitions/$1.sql" ]; then as_superuser --file "$definitions/$1.sql"; fi
}
provide auth AUTH_DATABASE_PASSWORD
provide marketdata MARKETDATA_DATABASE_PASSWORD
provide prediction PREDICTION_DATABASE_PASSWORD
provide trading TRADING_DATABASE_PASSWORD
