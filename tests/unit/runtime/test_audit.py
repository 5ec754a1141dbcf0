"""Which calls are recorded, when, and with what in it; over mTLS."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import ServiceDescriptor

from levimesh.auth.v1 import audit_pb2, auth_service_pb2, auth_service_pb2_grpc
from levimesh.trading.v1 import order_pb2, trading_service_pb2, trading_service_pb2_grpc
from services.runtime.audit import Outcome, new_event, tell_audit
from services.runtime.errors import FailedPrecondition, Unauthenticated
from services.runtime.health import Health
from services.runtime.policy import PolicyError
from services.runtime.server import build_server
from tests.audit import RememberedAudit
from tests.mesh import A_SESSION_ID, A_USER_ID, Served, a_token, bearing, error_info, serving

TRADING = trading_service_pb2.DESCRIPTOR.services_by_name["TradingService"]
AUTH = auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"]
TRACE = "0af7651916cd43dd8448eb211c80319c"
FROM_OUTSIDE = (("x-levimesh-address", "203.0.113.9"), ("traceparent", f"00-{TRACE}-b7ad6b7169203331-00"))
TRADER = (*bearing(a_token("ROLE_TRADER")), *FROM_OUTSIDE)
AN_ORDER = trading_service_pb2.SubmitOrderRequest(
    client_order_id="mine-1",
    symbol="BTC-USDT@simex",
    side=order_pb2.SIDE_BUY,
    type=order_pb2.ORDER_TYPE_MARKET,
    quantity={"value": "1"},
)
CANARY = "canary-password-5f2d"
DONE, DENIED, FAILED = (
    audit_pb2.AUDIT_OUTCOME_DONE,
    audit_pb2.AUDIT_OUTCOME_DENIED,
    audit_pb2.AUDIT_OUTCOME_FAILED,
)


class StrategyBusy(FailedPrecondition):
    reason = "STRATEGY_BUSY"


class CredentialsInvalid(Unauthenticated):
    reason = "CREDENTIALS_INVALID"


class Methods:
    """Does in every audited method what a test wants."""

    def __init__(self) -> None:
        self.answer: Callable[[], Any] = asyncio.Event().wait
        self.reached = asyncio.Event()


def servicer(service: ServiceDescriptor, methods: Methods) -> object:
    """An implementation of every method of ``service``."""

    async def answer(_: object, request: Any, context: Any) -> Any:
        methods.reached.set()
        return await methods.answer()

    return type("Servicer", (), {method.name: answer for method in service.methods})()


@pytest.fixture
def methods() -> Methods:
    return Methods()


@pytest.fixture
def audit() -> RememberedAudit:
    return RememberedAudit()


@pytest.fixture
async def served(methods: Methods, audit: RememberedAudit, certificates: Path) -> AsyncIterator[Served]:
    services = {TRADING: servicer(TRADING, methods), AUTH: servicer(AUTH, methods)}
    async with serving(services, certificates, workload="trading", audit=audit) as served:
        yield served


@pytest.fixture
def trading(served: Served) -> Any:
    return trading_service_pb2_grpc.TradingServiceStub(served.channel(TRADING))


@pytest.fixture
def auth(served: Served) -> Any:
    return auth_service_pb2_grpc.AuthServiceStub(served.channel(AUTH))


def answering(response: Any) -> Callable[[], Any]:
    async def answer() -> Any:
        if isinstance(response, Exception):
            raise response
        return response

    return answer


SUBMITTED = answering(trading_service_pb2.SubmitOrderResponse())


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value


async def test_a_call_is_recorded_with_who_what_and_where_from(
    trading: Any, methods: Methods, audit: RememberedAudit
) -> None:
    methods.answer = SUBMITTED

    await trading.SubmitOrder(AN_ORDER, metadata=TRADER)

    (event,) = audit.events
    assert event.action == "/levimesh.trading.v1.TradingService/SubmitOrder"
    assert (event.actor, event.session_id, event.address) == (A_USER_ID, A_SESSION_ID, "203.0.113.9")
    assert (event.outcome, event.status) == (DONE, "OK")
    assert event.subject == {"client_order_id": "mine-1", "symbol": "BTC-USDT@simex"}
    assert event.trace_id == TRACE


async def test_the_answer_waits_until_the_call_is_recorded(
    trading: Any, methods: Methods, audit: RememberedAudit
) -> None:
    methods.answer = SUBMITTED
    recorded = audit.hold()
    call = trading.SubmitOrder(AN_ORDER, metadata=TRADER)
    async with asyncio.timeout(5):
        await audit.added.wait()
    assert not call.done()

    recorded.set_result(True)

    await call


async def test_calls_of_methods_that_are_not_audited_leave_no_record(
    trading: Any, methods: Methods, audit: RememberedAudit
) -> None:
    methods.answer = answering(trading_service_pb2.GetPortfolioResponse())

    await trading.GetPortfolio(trading_service_pb2.GetPortfolioRequest(), metadata=TRADER)

    assert audit.events == []


@pytest.mark.parametrize(
    ("metadata", "actor", "status"),
    [
        (FROM_OUTSIDE, "gateway", "UNAUTHENTICATED ERROR_REASON_TOKEN_MISSING"),
        ((*bearing("no-token"), *FROM_OUTSIDE), "gateway", "UNAUTHENTICATED ERROR_REASON_TOKEN_INVALID"),
        (
            (*bearing(a_token("ROLE_VIEWER")), *FROM_OUTSIDE),
            A_USER_ID,
            "PERMISSION_DENIED ERROR_REASON_ROLE_NOT_ALLOWED",
        ),
        (
            (*bearing(a_token("ROLE_TRADER", scope="read")), *FROM_OUTSIDE),
            A_USER_ID,
            "PERMISSION_DENIED ERROR_REASON_SCOPE_MISSING",
        ),
    ],
)
async def test_who_is_not_let_in_is_recorded_as_far_as_known(
    trading: Any, audit: RememberedAudit, metadata: Any, actor: str, status: str
) -> None:
    await refused(trading.SubmitOrder(AN_ORDER, metadata=metadata))

    (event,) = audit.events
    assert (event.outcome, event.actor, event.address, event.status) == (DENIED, actor, "203.0.113.9", status)


async def test_a_stranger_among_the_workloads_is_recorded_and_not_believed(
    served: Served, audit: RememberedAudit
) -> None:
    stub: Any = trading_service_pb2_grpc.TradingServiceStub(served.channel(TRADING, "stranger"))

    await refused(stub.SubmitOrder(AN_ORDER, metadata=TRADER))

    (event,) = audit.events
    assert (event.actor, event.session_id, event.address) == ("stranger", "", "")
    assert event.status == "PERMISSION_DENIED ERROR_REASON_CALLER_NOT_ALLOWED"


@pytest.mark.parametrize(
    ("request_", "answer", "status"),
    [
        (trading_service_pb2.SubmitOrderRequest(), None, "INVALID_ARGUMENT ERROR_REASON_FIELD_VIOLATION"),
        (AN_ORDER, StrategyBusy("busy"), "FAILED_PRECONDITION ERROR_REASON_STRATEGY_BUSY"),
        (AN_ORDER, ValueError("a bug"), "INTERNAL ERROR_REASON_INTERNAL"),
    ],
)
async def test_what_could_not_be_done_is_recorded_with_the_reason(
    trading: Any, methods: Methods, audit: RememberedAudit, request_: Any, answer: Any, status: str
) -> None:
    methods.answer = answering(answer)

    error = await refused(trading.SubmitOrder(request_, metadata=TRADER))

    (event,) = audit.events
    assert (event.outcome, event.status) == (FAILED, status)
    assert status == f"{error.code().name} {error_info(error).reason}"


async def test_a_call_whose_caller_leaves_is_recorded(trading: Any, methods: Methods, audit: RememberedAudit) -> None:
    call = trading.SubmitOrder(AN_ORDER, metadata=TRADER)
    async with asyncio.timeout(5):
        await methods.reached.wait()

        call.cancel()

        await audit.added.wait()
    assert (audit.events[0].outcome, audit.events[0].status) == (FAILED, "CANCELLED")


@pytest.mark.parametrize("right", [True, False])
async def test_a_login_is_recorded_with_the_name_and_without_a_secret(
    auth: Any, methods: Methods, audit: RememberedAudit, right: bool
) -> None:
    response = auth_service_pb2.LoginResponse(access_token=CANARY, refresh_token=CANARY, session_id="s-1")
    methods.answer = answering(response if right else CredentialsInvalid("no"))
    request = auth_service_pb2.LoginRequest(username="ann", password=CANARY, second_factor=CANARY)

    call = auth.Login(request, metadata=FROM_OUTSIDE)
    await (call if right else refused(call))

    (event,) = audit.events
    assert (event.actor, event.session_id) == ("ann", "s-1" if right else "")
    assert event.outcome == (DONE if right else DENIED)
    assert CANARY not in str(event)


async def test_a_method_can_tell_whose_call_it_was(auth: Any, methods: Methods, audit: RememberedAudit) -> None:
    async def refresh() -> Any:
        tell_audit(actor=A_USER_ID, session_id="s-2", client_id="web")
        return auth_service_pb2.RefreshSessionResponse()

    methods.answer = refresh
    request_id = "6f1c1f0e-0000-4000-8000-00000000000f"

    await auth.RefreshSession(auth_service_pb2.RefreshSessionRequest(refresh_token=CANARY, request_id=request_id))

    (event,) = audit.events
    assert (event.actor, event.session_id) == (A_USER_ID, "s-2")
    assert event.subject == {"request_id": request_id, "client_id": "web"}
    assert CANARY not in str(event)


async def test_while_nothing_can_be_recorded_nothing_is_done(
    trading: Any, methods: Methods, audit: RememberedAudit
) -> None:
    audit.works = False

    error = await refused(trading.SubmitOrder(AN_ORDER, metadata=TRADER))

    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert error_info(error).metadata["part"] == "audit"
    assert not methods.reached.is_set()
    assert audit.events[0].status == "UNAVAILABLE ERROR_REASON_DEPENDENCY_UNAVAILABLE", "it is kept, for later"


async def test_a_refusal_that_cannot_be_recorded_is_not_told(
    auth: Any, methods: Methods, audit: RememberedAudit
) -> None:
    """Else passwords could be tried without a trace."""
    methods.answer = answering(CredentialsInvalid("no"))
    audit.hold().set_result(False)

    error = await refused(auth.Login(auth_service_pb2.LoginRequest(username="ann", password="guess")))

    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert audit.events[0].status == "UNAUTHENTICATED ERROR_REASON_CREDENTIALS_INVALID"


@pytest.mark.parametrize("answer", [trading_service_pb2.SubmitOrderResponse(), ValueError("half done")])
async def test_what_may_have_had_its_effect_is_told_as_it_is(
    trading: Any, methods: Methods, audit: RememberedAudit, answer: Any
) -> None:
    methods.answer = answering(answer)
    audit.hold().set_result(False)

    call = trading.SubmitOrder(AN_ORDER, metadata=TRADER)

    if isinstance(answer, Exception):
        assert (await refused(call)).code() is grpc.StatusCode.INTERNAL
    else:
        await call
    assert len(audit.events) == 1


async def test_a_server_with_audited_methods_does_not_start_without_an_audit_log(
    served: Served, methods: Methods
) -> None:
    served.stages.audit = None

    with pytest.raises(PolicyError, match="SubmitOrder is audited"):
        build_server({TRADING: servicer(TRADING, methods)}, served.stages, Health())


def test_texts_are_cut_and_control_characters_are_not_passed_on() -> None:
    event = new_event(
        "login_locked", outcome=Outcome.DENIED, subject={"username": "a\x00b\n" * 99}, actor="\x1b[2Jann", status="OK"
    )

    assert event.actor == "\N{REPLACEMENT CHARACTER}[2Jann"
    assert len(event.subject["username"]) == 128
    assert event.subject["username"].endswith("…")
    assert "\x00" not in event.subject["username"]


async def test_an_event_without_a_call_is_recorded(audit: RememberedAudit) -> None:
    await audit.record("refresh_token_reused", actor=A_USER_ID, outcome=Outcome.DENIED, session_id="s-3")

    (event,) = audit.events
    assert (event.action, event.actor, event.session_id) == ("refresh_token_reused", A_USER_ID, "s-3")
    assert event.outcome == DENIED
