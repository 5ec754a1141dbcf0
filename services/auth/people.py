"""Puts the parts together that have to do with people: users, passwords, second factors."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from argon2 import PasswordHasher
from sqlalchemy.ext.asyncio import AsyncEngine

from services.auth.adapters.argon2 import Argon2Passwords, owasp_hasher
from services.auth.adapters.authenticators import SqlAuthenticators
from services.auth.adapters.failed_logins import SqlLoginGuard
from services.auth.adapters.login_turns import LoginTurns
from services.auth.adapters.sealing import Sealer
from services.auth.adapters.totp import PyotpCodes
from services.auth.adapters.users import SqlUsers
from services.auth.ports.second_factors import Authenticators, Codes
from services.auth.ports.sessions import Sessions
from services.auth.ports.users import LoginGuard, Passwords, SecondFactors, Turns, Users
from services.auth.servicers.users import UserServicer, UserUseCases
from services.auth.settings import AuthSettings
from services.auth.use_cases.passwords import ChangePassword, ProvePassword, ResetPassword
from services.auth.use_cases.second_factors import ConfirmTotp, EnrollTotp, RemoveTotp, ResetTotp, TotpSecondFactors
from services.auth.use_cases.users import (
    CreateFirstAdmin,
    CreateUser,
    DeleteUser,
    DisableUser,
    EnableUser,
    GetUser,
    ListUsers,
    UpdateUser,
)
from services.runtime.audit import AuditLog
from services.runtime.clock import Clock

_NEW_PASSWORD_BYTES = 18
"""144 random bits, 24 characters."""


@dataclass(frozen=True)
class People:
    """Who may log in, and what proves who they are."""

    users: Users
    passwords: Passwords
    guard: LoginGuard
    authenticators: Authenticators
    codes: Codes
    second_factors: SecondFactors
    prove_password: ProvePassword
    turns: Turns
    """Of those who log in."""


@contextmanager
def open_people(
    settings: AuthSettings,
    engine: AsyncEngine,
    sealer: Sealer,
    audit: AuditLog,
    hasher: PasswordHasher | None,
    now: Clock,
) -> Iterator[People]:
    """People in the database behind ``engine``."""
    known = SqlUsers(engine)
    guard = SqlLoginGuard(engine, audit, now)
    authenticators = SqlAuthenticators(engine, sealer)
    codes = PyotpCodes(settings.authenticator_issuer)
    hashes = Argon2Passwords(hasher or owasp_hasher(), workers=settings.password_workers, queue=settings.password_queue)
    try:
        yield People(
            users=known,
            passwords=hashes,
            guard=guard,
            authenticators=authenticators,
            codes=codes,
            second_factors=TotpSecondFactors(authenticators, codes, now),
            prove_password=ProvePassword(known, hashes, guard),
            # One more than can be hashed: it looks things up meanwhile.
            turns=LoginTurns(at_once=settings.password_workers + 1, waiting=settings.password_queue),
        )
    finally:
        hashes.close()


def user_servicer(people: People, sessions: Sessions, now: Clock, new_id: Callable[[], UUID]) -> UserServicer:
    """UserService; whoever may be somebody else from now on is logged out of ``sessions``."""
    known, hashes, guard = people.users, people.passwords, people.guard
    authenticators, codes = people.authenticators, people.codes
    return UserServicer(
        UserUseCases(
            create_user=CreateUser(known, hashes, now, new_id),
            create_first_admin=CreateFirstAdmin(known, hashes, now, new_id),
            get_user=GetUser(known),
            list_users=ListUsers(known),
            update_user=UpdateUser(known),
            disable_user=DisableUser(known, sessions, now),
            enable_user=EnableUser(known, guard),
            delete_user=DeleteUser(known),
            change_password=ChangePassword(known, hashes, people.prove_password, guard, sessions, now),
            reset_password=ResetPassword(known, hashes, sessions, now, _new_password),
            enroll_totp=EnrollTotp(known, people.prove_password, guard, authenticators, codes),
            confirm_totp=ConfirmTotp(authenticators, codes, now, secrets.token_bytes),
            remove_totp=RemoveTotp(known, people.second_factors, authenticators, guard),
            reset_totp=ResetTotp(known, authenticators, sessions, now),
        )
    )


def _new_password() -> str:
    return secrets.token_urlsafe(_NEW_PASSWORD_BYTES)
