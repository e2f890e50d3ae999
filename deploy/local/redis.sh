#!/usr/bin/env bash
# Redis, a cache and nothing else. run: become the server; ready: does it answer?
# Keeps: nothing on disk. All it holds can be computed again from PostgreSQL.
set -euo pipefail
# shellcheck source=settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
# shellcheck source=process.sh
source "$here/process.sh"

case ${1:-} in
    run)
        record_process redis $$
        program=$(command -v redis-server) || die "redis-server is missing: run scripts/install.sh"
        mkdir -p "$TIDEWATCH_STATE/redis"
        # allkeys-lru: every key is a hot answer that PostgreSQL can give too, so when memory is full the one unread for
        # longest goes; noeviction would refuse the sink's writes, volatile-* would keep a key without expiry for ever.
        become KILL "$program" --bind 127.0.0.1 --port "$TIDEWATCH_REDIS_PORT" --protected-mode yes --daemonize no \
            --dir "$TIDEWATCH_STATE/redis" --save '' --appendonly no --maxmemory 256mb --maxmemory-policy allkeys-lru
        ;;
    ready) [[ $(redis-cli -h 127.0.0.1 -p "$TIDEWATCH_REDIS_PORT" ping 2>/dev/null) == PONG ]] ;;
    *) die "usage: redis.sh run | ready" ;;
esac
