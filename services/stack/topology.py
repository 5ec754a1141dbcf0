"""Which processes the stack consists of, what each is given, and what it needs."""

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from services.runtime.policy import RATE_LIMIT_SCALE
from services.runtime.workload import WorkloadFiles
from services.stack.checks import GrpcCheck, check_http
from services.stack.database import Database
from services.stack.envoy import Gateway
from services.stack.postgres import Cluster, run_as
from services.stack.processes import Process
from services.stack.redis import RedisServer
from services.stack.settings import AUTH_EDGE, METRICS_OFFSET, SERVICES, StackSettings
from services.stack.sources import Source
from services.stack.state import Memory, Secrets, State

_EVERYBODYS = frozenset(
    {
        *("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "LD_LIBRARY_PATH"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "OMP_NUM_THREADS"),
        *("LEVIMESH_SECRETS_DIR", RATE_LIMIT_SCALE),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    }
)
"""Variables of the user's environment that reach every process of ours. No others do: there may be secrets in them."""

_NICENESS = 10
"""Of auth: logins give way to orders. What it is asked while a call waits, its worker answers, which does not."""

_GATEWAY_WAVE, _SERVICES_WAVE, _EXCHANGE_WAVE, _SERVERS_WAVE = range(4)


def processes(settings: StackSettings, state: State, secrets: Secrets, memory: Memory) -> list[Process]:
    """Every process of the stack; each comes after those that it needs."""
    source = Source.parse(memory.source)
    servers = _Servers.of(settings, state, secrets)
    found = [_postgres(servers, state), _redis(servers, state)]
    if source.needs_simex:
        found.append(_simex(settings, state, source, memory.speed))
    services = [_service(name, settings, state, secrets, servers, source) for name in SERVICES]
    return [*found, *services, _auth_edge(services[0], settings, state), _gateway(settings, state)]


def workload_files(state: State, workload: str) -> WorkloadFiles:
    """The certificate files of ``workload``."""
    folder = state.certificates / workload
    return WorkloadFiles(folder / "certificate.pem", folder / "private_key.pem", state.certificates / "ca.pem")


@dataclass(frozen=True)
class _Servers:
    """PostgreSQL and Redis."""

    cluster: Cluster
    database: Database
    redis: RedisServer

    @classmethod
    def of(cls, settings: StackSettings, state: State, secrets: Secrets) -> "_Servers":
        cluster = Cluster(state.path / "postgres", settings.postgres_port, secrets.postgres)
        redis = RedisServer(state.path / "redis", settings.redis_port, secrets.redis)
        return cls(cluster, Database(cluster, secrets.roles), redis)


def _postgres(servers: _Servers, state: State) -> Process:
    return Process(
        name="postgres",
        command=servers.cluster.command,
        environment=_bare_environment(),
        log=_log(state, "postgres"),
        ready=servers.database.ready,
        prepare=servers.cluster.prepare,
        # The fast shutdown; SIGTERM waits for every client to leave.
        stop_signal=signal.SIGINT,
        stop_wave=_SERVERS_WAVE,
        run_as=run_as(),
    )


def _redis(servers: _Servers, state: State) -> Process:
    return Process(
        name="redis",
        command=servers.redis.command,
        environment=_bare_environment(),
        log=_log(state, "redis"),
        ready=servers.redis.ping,
        prepare=servers.redis.prepare,
        stop_wave=_SERVERS_WAVE,
    )


def _simex(settings: StackSettings, state: State, source: Source, speed: float) -> Process:
    given = {
        "SIMEX_PORT": str(settings.simex_port),
        "SIMEX_SPEED": str(speed),
        "SIMEX_STATE_DIR": str(state.path / "simex"),
    }
    if source.kind == "replay":
        given["SIMEX_REPLAY_DIR"] = source.argument
    return Process(
        name="simex",
        command=_python("services.simex"),
        environment={**_inherited("SIMEX"), **given},
        log=_log(state, "simex"),
        ready=lambda: check_http("/api/v3/ping", port=settings.simex_port),
        stop_wave=_EXCHANGE_WAVE,
    )


def _service(
    name: str, settings: StackSettings, state: State, secrets: Secrets, servers: _Servers, source: Source
) -> Process:
    prefix = name.upper()
    files = workload_files(state, name)
    given = {
        "PORT": str(settings.port(name)),
        "METRICS_PORT": str(settings.port(name) + METRICS_OFFSET),
        "TLS_CERTIFICATE": str(files.certificate),
        "TLS_PRIVATE_KEY": str(files.private_key),
        "TLS_TRUST_BUNDLE": str(files.trust_bundle),
        "DATABASE_URL": servers.database.url(name),
        "REDIS_URL": servers.redis.url,
        "TOKEN_ISSUER": settings.issuer,
        **{f"{other.upper()}_TARGET": settings.target(other) for other in SERVICES if other != name},
        **_particular(name, settings, state, secrets, source),
    }
    return Process(
        name=name,
        command=_python(f"services.{name}"),
        environment={
            **_suggestions(name, source),
            **_inherited(prefix),
            **{f"{prefix}_{key}": value for key, value in given.items()},
        },
        log=_log(state, name),
        ready=GrpcCheck(name, settings.target(name), workload_files(state, "stack")),
        needs=("postgres", "redis"),
        prepare=servers.database.migration(name),
        niceness=_NICENESS if name == "auth" else 0,
        cores=_half_of_the_cores() if name == "auth" else None,
        stop_wave=_SERVICES_WAVE,
    )


def _particular(
    name: str, settings: StackSettings, state: State, secrets: Secrets, source: Source
) -> Mapping[str, str]:
    """What only one service is given."""
    if name == "auth":
        return {"KEY_ENCRYPTION_KEY": secrets.key_encryption, "AUDIT_ANCHOR_FILE": str(state.audit_anchors)}
    if name == "prediction":
        return {"MODEL_STORE_URL": (state.path / "models").as_uri()}
    if name == "marketdata" and source.needs_simex:
        url = f"http://127.0.0.1:{settings.simex_port}"
        return {"SOURCE": "simex", "EXCHANGE": "binance", "BASE_URL": url}
    if name == "marketdata":
        return {"SOURCE": source.argument, "EXCHANGE": source.argument, "BASE_URL": ""}
    return {}


def _suggestions(name: str, source: Source) -> Mapping[str, str]:
    """What the user's environment may override."""
    if name == "marketdata" and source.needs_simex:
        return {"MARKETDATA_SYMBOLS": ""}  # all that simex has, which the files of a replay decide
    return {}


def _auth_edge(auth: Process, settings: StackSettings, state: State) -> Process:
    """The worker of ``auth``, which is given the same."""
    port = settings.port(AUTH_EDGE)
    return replace(
        auth,
        name=AUTH_EDGE,
        command=_python("services.auth.edge_worker"),
        environment={**auth.environment, "AUTH_PORT": str(port), "AUTH_METRICS_PORT": str(port + METRICS_OFFSET)},
        log=_log(state, AUTH_EDGE),
        ready=GrpcCheck("auth", settings.target(AUTH_EDGE), workload_files(state, "stack")),
        niceness=0,
        cores=None,
    )


def _gateway(settings: StackSettings, state: State) -> Process:
    gateway = Gateway.of(settings, state)
    return Process(
        name="gateway",
        command=gateway.command,
        environment=_bare_environment(),
        log=_log(state, "gateway"),
        ready=gateway.ready,
        prepare=gateway.prepare,
        before_stop=gateway.drain,
        stop_wave=_GATEWAY_WAVE,
    )


def _half_of_the_cores() -> frozenset[int]:
    """For auth: while a hundred people log in, there is always a core that knows nothing of it."""
    cores = sorted(os.sched_getaffinity(0))
    return frozenset(cores[len(cores) // 2 :])


def _python(module: str) -> list[str]:
    return [sys.executable, "-P", "-m", module]


def _inherited(prefix: str) -> Mapping[str, str]:
    """What a service gets of the user's environment: its own settings, and what every program on a machine needs."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _EVERYBODYS or name.startswith((f"{prefix}_", "LC_", "GRPC_", "OTEL_"))
    }


def _bare_environment() -> Mapping[str, str]:
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "TZ": "UTC"}


def _log(state: State, name: str) -> Path:
    return state.logs / f"{name}.log"
