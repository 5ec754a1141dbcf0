"""Codes of authenticators, recovery codes, and the pictures that carry the secret."""

import os
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlparse

import pytest

from services.auth.adapters.qr import QrCode
from services.auth.adapters.totp import PyotpCodes
from services.auth.domain.totp import Enrolment, is_authenticator_code, new_recovery_codes, recovery_code_hash

CODES = PyotpCodes("LeviMesh")
RFC_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
RFC_TIME, RFC_CODE = datetime.fromtimestamp(1111111109, UTC), "081804"


def test_the_code_is_that_of_the_standard() -> None:
    assert CODES.step(RFC_SECRET, RFC_CODE, RFC_TIME) == 1111111109 // 30


@pytest.mark.parametrize(("seconds", "good"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
def test_a_clock_may_be_one_step_off(seconds: int, good: bool) -> None:
    step = CODES.step(RFC_SECRET, RFC_CODE, RFC_TIME + timedelta(seconds=seconds))

    assert step == (1111111109 // 30 if good else None), "and the step is the code's own"


def test_the_uri_tells_an_authenticator_the_secret_and_whose_it_is() -> None:
    secret = CODES.new_secret()
    uri = urlparse(CODES.uri(secret, "ann"))

    assert (uri.scheme, uri.netloc, uri.path) == ("otpauth", "totp", "/LeviMesh:ann")
    assert parse_qs(uri.query) == {"secret": [secret], "issuer": ["LeviMesh"]}
    assert len(secret) == 32, "160 bits, as RFC 4226 recommends"
    assert secret != CODES.new_secret()


def test_there_are_ten_recovery_codes_of_eighty_bits() -> None:
    codes = new_recovery_codes(os.urandom)

    assert len(set(codes)) == 10
    assert all(re.fullmatch("([A-Z2-7]{4}-){3}[A-Z2-7]{4}", code) for code in codes)
    assert not any(is_authenticator_code(code) for code in codes)


def test_a_recovery_code_may_be_typed_in_another_way() -> None:
    known = recovery_code_hash("ABCD-EFGH-IJKL-MNOP")

    assert recovery_code_hash(" abcdefgh ijklmnop") == known
    assert recovery_code_hash("ABCD-EFGH-IJKL-MNOQ") != known


def test_an_enrolment_does_not_show_its_secret() -> None:
    assert RFC_SECRET not in repr(Enrolment(RFC_SECRET, confirmed=True))


def test_the_pictures_are_a_png_and_blocks() -> None:
    picture = QrCode(CODES.uri(RFC_SECRET, "ann"))

    png, lines = picture.png(), picture.blocks().splitlines()
    assert png.startswith(b"\x89PNG\r\n")
    modules = len(lines[0])
    assert {len(line) for line in lines} == {modules}
    assert len(lines) == (modules + 1) // 2, "each character is two modules high"
    assert int.from_bytes(png[16:20], "big") == int.from_bytes(png[20:24], "big") == 6 * modules
