"""What is done with second factors, one callable each."""

from collections.abc import Callable, Sequence

from services.auth.domain.totp import CodeUse, is_authenticator_code, new_recovery_codes, recovery_code_hash
from services.auth.domain.users import User
from services.auth.errors import CodeInvalid, TotpEnrolled, TotpNotEnrolled, UserNotFound
from services.auth.ports.second_factors import Authenticators, Codes
from services.auth.ports.sessions import Sessions
from services.auth.ports.users import LoginGuard, SecondFactors, Users
from services.auth.use_cases.passwords import ProvePassword
from services.runtime.clock import Clock


class TotpSecondFactors:
    """The second factors of users: a code of their authenticator, or a recovery code."""

    def __init__(self, authenticators: Authenticators, codes: Codes, now: Clock) -> None:
        self._authenticators = authenticators
        self._codes = codes
        self._now = now

    async def required(self, user: User) -> bool:
        return user.totp_enrolled

    async def use(self, user: User, code: str) -> CodeUse:
        if not is_authenticator_code(code):
            return await self._authenticators.use_recovery_code(user.user_id, recovery_code_hash(code))
        enrolment = await self._authenticators.of(user.user_id)
        step = self._codes.step(enrolment.secret, code, self._now()) if enrolment else None
        if step is None:
            return CodeUse.WRONG
        return CodeUse.RIGHT if await self._authenticators.use_step(user.user_id, step) else CodeUse.AGAIN


class EnrollTotp:
    """Begin to give a user who knows the password a second factor: make the authenticator's secret, return its URI.

    Without the password whoever has got hold of an access token could lock its user out for good.
    """

    def __init__(
        self,
        users: Users,
        prove_password: ProvePassword,
        guard: LoginGuard,
        authenticators: Authenticators,
        codes: Codes,
    ) -> None:
        self._users = users
        self._prove_password = prove_password
        self._guard = guard
        self._authenticators = authenticators
        self._codes = codes

    async def __call__(self, user_id: str, password: str) -> str:
        user = await self._users.by_id(user_id)
        if user is None:
            raise UserNotFound(user_id)
        if user.totp_enrolled:
            # Before the password: that alone is no success which would end the lock-out of somebody's guesses.
            raise TotpEnrolled
        await self._prove_password(user.username, password)
        await self._guard.succeeded(user.username)
        secret = self._codes.new_secret()
        await self._authenticators.begin(user_id, secret)
        return self._codes.uri(secret, user.username)


class ConfirmTotp:
    """Make a second factor count, now that a code proves that the authenticator has its secret; make recovery codes."""

    def __init__(
        self, authenticators: Authenticators, codes: Codes, now: Clock, random_bytes: Callable[[int], bytes]
    ) -> None:
        self._authenticators = authenticators
        self._codes = codes
        self._now = now
        self._random_bytes = random_bytes

    async def __call__(self, user_id: str, code: str) -> Sequence[str]:
        enrolment = await self._authenticators.of(user_id)
        if enrolment is None:
            raise TotpNotEnrolled
        if enrolment.confirmed:
            raise TotpEnrolled
        step = self._codes.step(enrolment.secret, code, self._now())
        recovery_codes = new_recovery_codes(self._random_bytes)
        hashes = [recovery_code_hash(each) for each in recovery_codes]
        if step is None or not await self._authenticators.confirm(user_id, enrolment.secret, step, hashes):
            raise CodeInvalid
        return recovery_codes


class RemoveTotp:
    """Take the second factor away from a user who proves to have it."""

    def __init__(
        self, users: Users, second_factors: SecondFactors, authenticators: Authenticators, guard: LoginGuard
    ) -> None:
        self._users = users
        self._second_factors = second_factors
        self._authenticators = authenticators
        self._guard = guard

    async def __call__(self, user_id: str, code: str) -> None:
        user = await self._users.by_id(user_id)
        if user is None or not await self._second_factors.required(user):
            raise TotpNotEnrolled
        await self._guard.check(user.username)
        use = await self._second_factors.use(user, code)
        if use is CodeUse.WRONG:
            await self._guard.failed(user.username)
        if use is not CodeUse.RIGHT:
            raise CodeInvalid
        await self._guard.succeeded(user.username)
        await self._authenticators.remove(user_id)


class ResetTotp:
    """Take the second factor away from a user who has lost it, and end the user's sessions."""

    def __init__(self, users: Users, authenticators: Authenticators, sessions: Sessions, now: Clock) -> None:
        self._users = users
        self._authenticators = authenticators
        self._sessions = sessions
        self._now = now

    async def __call__(self, user_id: str) -> User:
        await self._authenticators.remove(user_id)
        user = await self._users.by_id(user_id)
        if user is None:
            raise UserNotFound(user_id)
        await self._sessions.end_all_of_user(user_id, self._now())
        return user
