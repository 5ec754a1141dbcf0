"""What is done with signing keys, one callable each."""

from services.auth.domain.signing_keys import KeySchedule
from services.auth.ports.keys import KeyRing, SigningKeys
from services.runtime.clock import Clock


class ResealSigningKeys:
    """Encrypt what a former key-encryption key encrypted with the one of today."""

    def __init__(self, keys: SigningKeys, ring: KeyRing) -> None:
        self._keys = keys
        self._ring = ring

    async def __call__(self) -> None:
        async with self._keys.change() as change:
            for key in await change.all():
                if (sealed := self._ring.resealed(key)) is not None:
                    await change.reseal(key.kid, sealed)


class RotateSigningKeys:
    """Make the next key when it is time to publish it, forget keys that are over, and take what there is.

    All replicas do it, again and again; of those that find something to do at once, one does it.
    """

    def __init__(self, keys: SigningKeys, ring: KeyRing, schedule: KeySchedule, now: Clock) -> None:
        self._keys = keys
        self._ring = ring
        self._schedule = schedule
        self._now = now

    async def __call__(self) -> None:
        now, keys = self._now(), await self._keys.all()
        if self._schedule.next_sign_time(keys, now) is not None or self._schedule.over(keys, now):
            await self._change()
            keys = await self._keys.all()
        self._ring.take(keys)

    async def _change(self) -> None:
        async with self._keys.change() as change:
            now, keys = self._now(), await change.all()
            for key in self._schedule.over(keys, now):
                await change.remove(key.kid)
            if (sign_time := self._schedule.next_sign_time(keys, now)) is not None:
                await change.add(self._ring.new(now, sign_time))


class FollowSigningKeys:
    """Take what keys there are: for a process that only signs with them, and leaves the rest to others."""

    def __init__(self, keys: SigningKeys, ring: KeyRing) -> None:
        self._keys = keys
        self._ring = ring

    async def __call__(self) -> bool:
        """Whether there are any: nobody may have made the first yet."""
        keys = await self._keys.all()
        self._ring.take(keys)
        return bool(keys)
