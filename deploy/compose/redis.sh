#!/bin/sh
# Runs Redis with the password from its secret: in a file that nobody else reads, and so never in the list of processes.
set -eu
umask 077
printf 'requirepass %s\n' "$(cat /run/secrets/REDIS_PASSWORD)" > /tmp/redis.conf
exec redis-server /tmp/redis.conf "$@"
