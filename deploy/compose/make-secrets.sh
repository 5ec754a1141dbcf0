#!/bin/sh
# Makes the secrets that docker-compose.yml names, each in a file of its own; those that exist already stay.
set -eu
cd "$(dirname "$0")"
mkdir -p -m 700 secrets  # Nobody else passes through here; inside a container each process sees its own files only.
make() {
  [ -s "secrets/$1" ] && return
  file="secrets/$1"
  shift
  "$@" > "$file"
  chmod 444 "$file"
}
for name in POSTGRES REDIS AUTH_DATABASE MARKETDATA_DATABASE PREDICTION_DATABASE TRADING_DATABASE; do
  make "${name}_PASSWORD" openssl rand -hex 24
done
make AUTH_KEY_ENCRYPTION_KEY openssl rand -base64 32
