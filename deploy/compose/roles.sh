#!/bin/sh
# Runs once, when PostgreSQL's data folder is new: a role for each service, which owns the schema of its name only.
set -eu
as_superuser() { psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" "$@"; }

as_superuser <<'SQL'
REVOKE ALL ON DATABASE levimesh FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
SQL

provide() {
  # By a variable and not an argument, which every process of the container could read.
  export PASSWORD_FILE="/run/secrets/$2"
  as_superuser --set role="$1" <<'SQL'
\set password `cat "$PASSWORD_FILE"`
CREATE ROLE :"role" LOGIN PASSWORD :'password';
GRANT CONNECT, TEMPORARY ON DATABASE levimesh TO :"role";
CREATE SCHEMA :"role" AUTHORIZATION :"role";
SQL
}
provide auth AUTH_DATABASE_PASSWORD
provide marketdata MARKETDATA_DATABASE_PASSWORD
provide prediction PREDICTION_DATABASE_PASSWORD
provide trading TRADING_DATABASE_PASSWORD
