"""Alembic migrations, one history and one schema per service.

``python -m services.runtime.migrations SERVICE`` migrates the database that the setting ``<SERVICE>_DATABASE_URL``
names.
"""

import asyncio
import sys
from pathlib import Path
from typing import cast

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from pydantic_settings import SettingsError
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

from services.runtime.secret_files import UrlWithPassword, find_secret

_SERVICES = Path(__file__).parents[1]


async def migrate(service: str, url: str, revision: str = "head") -> None:
    """Bring the schema named ``service`` to ``revision``, by default the newest, of ``services/<service>/migrations``.

    The role of the URL must be allowed to create in that schema. Migrations that start at once on several replicas run
    one after the other.
    """
    engine = create_async_engine(url, hide_parameters=True)
    try:
        async with engine.begin() as connection:
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": f"migrate {service}"}
            )
            await connection.run_sync(_upgrade, service, revision)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, service: str, to: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(_SERVICES / service / "migrations"))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)

    def steps(revision: str | tuple[str, ...], _: MigrationContext) -> list[RevisionStep]:
        # What alembic's own upgrade command calls; its annotation knows a single revision only.
        return list(scripts._upgrade_revs(to, cast("str", revision)))

    with EnvironmentContext(config, scripts, fn=steps) as environment:
        environment.configure(connection=connection, version_table_schema=service)
        environment.run_migrations()


def main() -> None:
    """The command line; see the module."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m services.runtime.migrations SERVICE")
    service = sys.argv[1]
    try:
        url = _url_of(service)
    except SettingsError as error:
        sys.exit(str(error))
    asyncio.run(migrate(service, url))


def _url_of(service: str) -> str:
    variable = f"{service.upper()}_DATABASE_URL"
    url, password = find_secret(variable), find_secret(f"{service.upper()}_DATABASE_PASSWORD")
    if url is None:
        raise SettingsError(f"set {variable} to the SQLAlchemy URL of the database to migrate")
    return (url if password is None else UrlWithPassword(url, password)).get_secret_value()


if __name__ == "__main__":
    main()
