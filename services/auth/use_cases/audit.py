"""What is done with the audit chain, one callable each."""

from collections.abc import Sequence

from services.auth.domain.audit import Anchor, Link, Verdict, Verification
from services.auth.ports.audit import Anchors, AuditChain, AuditFilter
from services.runtime.clock import Clock


class ListAuditEvents:
    """A page of the chain, the newest first."""

    def __init__(self, chain: AuditChain) -> None:
        self._chain = chain

    async def __call__(self, wanted: AuditFilter, before: int | None, size: int) -> tuple[Sequence[Link], int | None]:
        """At most ``size`` links before the number ``before``, and the number to go on before, if there are more."""
        links = await self._chain.page(wanted, before, size + 1)
        return links[:size], links[size - 1].sequence if len(links) > size else None


class VerifyAuditChain:
    """Compute the whole chain again, and compare it with what was anchored."""

    def __init__(self, chain: AuditChain, anchors: Anchors) -> None:
        self._chain = chain
        self._anchors = anchors

    async def __call__(self) -> Verdict:
        # The anchors that there are now: what is anchored later may be after the moment at which the chain is read.
        verification = Verification(self._anchors.all())
        async for links in self._chain.links():
            for link in links:
                verification.check(link)
        return verification.verdict()


class AnchorAuditChain:
    """Remember the head of the chain outside the database."""

    def __init__(self, chain: AuditChain, anchors: Anchors, now: Clock) -> None:
        self._chain = chain
        self._anchors = anchors
        self._now = now

    async def __call__(self) -> None:
        if (head := await self._chain.head()) is not None:
            await self._anchors.add(Anchor(head.sequence, head.hash, self._now()))
