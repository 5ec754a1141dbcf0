"""``levimesh sessions``, ``password``, ``totp``, ``limits``, ``policy``: one's own account, and its rules."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from levimesh.auth.v1 import auth_service_pb2, policy_service_pb2, session_pb2, user_pb2
from levimesh.auth.v1 import user_service_pb2 as pb
from levimesh.policy.v1 import policy_pb2
from tests.edge import PASSWORD, Edge, a_refusal
from tests.unit.cli.conftest import Levimesh, complaint

HERE = session_pb2.Session(session_id="aaaa1111-1111-4111-8111-111111111111", address="192.0.2.7", current=True)
THERE = session_pb2.Session(session_id="aaaa2222-2222-4222-8222-222222222222", user_agent="grpc-python")
LOGIN = "/levimesh.auth.v1.AuthService/Login"
PREDICT = "/levimesh.prediction.v1.PredictionService/Predict"
NEW = "a new long password"


@pytest.fixture(autouse=True)
def two_sessions(edge: Edge) -> None:
    edge.answers["ListSessions"] = lambda _: auth_service_pb2.ListSessionsResponse(sessions=[HERE, THERE])


def admin_password(tmp_path: Path) -> str:
    password: str = json.loads((tmp_path / "state" / "admin.json").read_text())["password"]
    return password


def test_sessions_are_listed_and_the_own_is_marked(levimesh: Levimesh) -> None:
    _, _, here, there = levimesh("sessions", "list").stdout.splitlines()

    assert here.split() == ["*", "aaaa1111", "192.0.2.7"]
    assert there.split() == ["aaaa2222", "grpc-python"]


def test_a_session_is_named_by_the_beginning_of_its_id(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["RevokeSession"] = lambda _: auth_service_pb2.RevokeSessionResponse()

    assert levimesh("sessions", "revoke", "aaaa2").exit_code == 0
    assert [call.request.session_id for call in edge.called("RevokeSession")] == [THERE.session_id]
    assert levimesh("sessions", "revoke", "aaaa").stderr.startswith("error: 2 sessions of yours begin with aaaa")
    assert levimesh("sessions", "revoke", "b").stderr.startswith("error: no sessions of yours begin with b")


def test_the_end_of_all_sessions_is_asked_about_and_forgets_the_own(
    edge: Edge, levimesh: Levimesh, tmp_path: Path
) -> None:
    edge.answers["LogoutEverywhere"] = lambda _: auth_service_pb2.LogoutEverywhereResponse(sessions_ended=2)
    levimesh("login", "alice", typed=f"{PASSWORD}\n")

    assert levimesh("sessions", "revoke-all", typed="n\n").exit_code == 1
    assert edge.called("LogoutEverywhere") == []

    assert levimesh("sessions", "revoke-all", "--yes").stdout == "Sessions ended: 2.\n"
    assert not (tmp_path / "credentials.json").exists()


def test_the_embedded_admin_types_only_the_new_password_which_is_kept(
    edge: Edge, levimesh: Levimesh, tmp_path: Path
) -> None:
    edge.answers["ChangePassword"] = lambda _: pb.ChangePasswordResponse()

    result = levimesh("password", "change", typed=f"{NEW}\n{NEW}\n")

    (call,) = edge.called("ChangePassword")
    assert (call.request.current_password, call.request.new_password) == (PASSWORD, NEW)
    assert admin_password(tmp_path) == NEW
    assert NEW not in result.output


def test_anybody_else_types_both_and_nothing_is_kept(edge: Edge, levimesh: Levimesh, tmp_path: Path) -> None:
    edge.answers["ChangePassword"] = lambda _: pb.ChangePasswordResponse()
    levimesh("login", "alice", typed=f"{PASSWORD}\n")

    levimesh("password", "change", typed=f"so far\n{NEW}\n{NEW}\n")

    (call,) = edge.called("ChangePassword")
    assert (call.request.current_password, call.request.new_password) == ("so far", NEW)
    assert admin_password(tmp_path) == PASSWORD
    assert NEW not in (tmp_path / "credentials.json").read_text()


def test_a_password_that_is_refused_is_not_kept(edge: Edge, levimesh: Levimesh, tmp_path: Path) -> None:
    def refuse(_: Any) -> Any:
        raise a_refusal("INVALID_ARGUMENT", "FIELD_VIOLATION", "new_password: at least twelve characters")

    edge.answers["ChangePassword"] = refuse

    assert levimesh("password", "change", typed="short\nshort\n").exit_code == 1
    assert admin_password(tmp_path) == PASSWORD


@pytest.fixture
def authenticator(edge: Edge) -> None:
    """An enrolment that the code 123456 confirms."""

    def confirm(request: pb.ConfirmTotpRequest) -> pb.ConfirmTotpResponse:
        if request.code != "123456":
            raise a_refusal("INVALID_ARGUMENT", "CODE_INVALID", "the code is wrong")
        return pb.ConfirmTotpResponse(recovery_codes=["aaaa-bbbb", "cccc-dddd"])

    begun = pb.EnrollTotpResponse(otpauth_uri="otpauth://totp/alice", qr_text="█▀▀█\n█▄▄█")
    edge.answers["EnrollTotp"] = lambda _: begun
    edge.answers["ConfirmTotp"] = confirm


@pytest.mark.usefixtures("authenticator")
def test_an_enrolment_shows_the_picture_and_after_the_code_the_recovery_codes(levimesh: Levimesh) -> None:
    result = levimesh("totp", "enrol", typed="123 456\n")

    assert result.exit_code == 0
    for shown in ("█▀▀█", "otpauth://totp/alice", "aaaa-bbbb", "cccc-dddd"):
        assert shown in result.stdout


@pytest.mark.usefixtures("authenticator")
def test_an_enrolment_takes_the_password_which_the_embedded_admin_need_not_type(
    edge: Edge, levimesh: Levimesh, tmp_path: Path
) -> None:
    levimesh("totp", "enrol", typed="123456\n")
    (tmp_path / "password").write_text("from a file\n")
    levimesh("totp", "enrol", "--password-file", str(tmp_path / "password"), typed="123456\n")
    levimesh("login", "alice", typed=f"{PASSWORD}\n")
    typed = levimesh("totp", "enrol", typed=f"{NEW}\n123456\n")

    given = [call.request.current_password for call in edge.called("EnrollTotp")]
    assert given == [PASSWORD, "from a file", NEW]
    assert NEW not in typed.output


@pytest.mark.usefixtures("authenticator")
def test_a_mistyped_code_may_be_typed_again_twice(edge: Edge, levimesh: Levimesh) -> None:
    assert levimesh("totp", "enrol", typed="1\n2\n123456\n").exit_code == 0

    failed = levimesh("totp", "enrol", typed="1\n2\n3\n")
    assert failed.exit_code == 1
    assert "[CODE_INVALID]" in failed.stderr
    assert len(edge.called("EnrollTotp")) == 2


@pytest.mark.parametrize(("arguments", "typed"), [([], "123456\n"), (["--code", "123456"], "")])
def test_a_second_factor_is_removed_by_a_code(edge: Edge, levimesh: Levimesh, arguments: list[str], typed: str) -> None:
    edge.answers["RemoveTotp"] = lambda _: pb.RemoveTotpResponse()

    assert levimesh("totp", "remove", *arguments, typed=typed).exit_code == 0
    assert [call.request.second_factor for call in edge.called("RemoveTotp")] == ["123456"]


def test_limits_are_shown_with_what_is_left_where_it_is_known(edge: Edge, levimesh: Levimesh) -> None:
    minute = Duration(seconds=60)
    known = [
        policy_service_pb2.Limit(method=LOGIN, calls=10, per=minute, remaining=0, reset_in=Duration(seconds=7)),
        policy_service_pb2.Limit(method=PREDICT, calls=60, per=minute),
    ]
    edge.answers["GetLimits"] = lambda _: policy_service_pb2.GetLimitsResponse(
        tier=policy_pb2.RATE_TIER_STANDARD, limits=known
    )

    title, _, login, predict = levimesh("limits").stdout.splitlines()

    assert title.strip() == "Limits (standard)"
    assert login.split() == ["AuthService/Login", "10", "1", "min", "0", "7", "s"]
    assert predict.split() == ["PredictionService/Predict", "60", "1", "min"]
    assert len(levimesh("limits", "PREDICT").stdout.splitlines()) == 3
    assert [each["method"] for each in json.loads(levimesh("limits", "predict", "--json").stdout)["limits"]] == [
        PREDICT
    ]


def test_where_there_are_no_limits_that_is_said(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["GetLimits"] = lambda _: policy_service_pb2.GetLimitsResponse(tier=policy_pb2.RATE_TIER_STANDARD)

    assert "there are no limits here" in levimesh("limits").stdout


def test_a_password_file_that_holds_no_text_is_refused_in_words(levimesh: Levimesh, tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"\xff\xfe")

    refused = levimesh("login", "alice", "--password-file", str(tmp_path / "password"))

    assert refused.exit_code == 2
    assert "it holds no password" in complaint(refused)


def test_the_password_of_the_embedded_admin_is_kept_by_whatever_name_its_gateway_goes(
    edge: Edge, levimesh: Levimesh, tmp_path: Path
) -> None:
    alice = user_pb2.User(user_id="aaaa1111-1111-4111-8111-111111111111", username="alice")
    edge.answers["ListUsers"] = lambda _: pb.ListUsersResponse(users=[alice])
    edge.answers["ResetPassword"] = lambda _: pb.ResetPasswordResponse(password=NEW)
    levimesh("login", "alice", "--gateway", f"localhost:{edge.port}", typed=f"{PASSWORD}\n")

    done = levimesh("users", "reset-password", "alice")

    assert done.exit_code == 0, done.output
    assert admin_password(tmp_path) == NEW


def test_the_policy_is_shown_and_can_be_filtered(edge: Edge, levimesh: Levimesh) -> None:
    limit = policy_pb2.RateLimit(calls=60, per=Duration(seconds=60))
    predict = policy_pb2.MethodPolicy(
        roles=[policy_pb2.ROLE_TRADER, policy_pb2.ROLE_ADMIN],
        scopes=["read"],
        deadline=Duration(seconds=2),
        idempotency=policy_pb2.IDEMPOTENCY_READ_ONLY,
        rate_limit=limit,
    )
    login = policy_pb2.MethodPolicy(public=True, idempotency=policy_pb2.IDEMPOTENCY_NONE, audit=True)
    known = [
        policy_service_pb2.EffectivePolicy(method=LOGIN, policy=login),
        policy_service_pb2.EffectivePolicy(method=PREDICT, policy=predict),
    ]
    edge.answers["GetPolicy"] = lambda _: policy_service_pb2.GetPolicyResponse(methods=known)

    _, _, first, second = levimesh("policy").stdout.splitlines()

    assert first.split() == ["AuthService/Login", "anybody", "none", "yes"]
    assert " ".join(second.split()) == "PredictionService/Predict trader, admin read 2 s 60 / 1 min read only"
    assert len(levimesh("policy", "PREDICT").stdout.splitlines()) == 3
    assert "no method's path holds nothing" in levimesh("policy", "nothing").stdout
