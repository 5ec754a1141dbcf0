"""Secrets that are recognised wherever they turn up, and requests that carry them."""

import base64
import itertools
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

from google.api import httpbody_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from protovalidate import Validator

_SHORTEST = 8
_MARK = "Canary-of-the-mesh-"
_ALIASES = {"x-api-key": "secret", "client_secret": "secret"}
_DEEPEST = 4
_PLAUSIBLE = (
    *("", "somebody", "6f1c1f0e-0000-4000-8000-00000000abcd", "BTC-USDT@simex", "1", "read", "127.0.0.1/32"),
    *("signal-follower", "http://127.0.0.1:1/callback", "S256", "code", "x" * 43, "trading", "levimesh"),
)
_NONSENSE = "no such thing \x7f"
_FORMS = ({"grant_type": "refresh_token"}, {"grant_type": "client_credentials"}, {"grant_type": "authorization_code"})


class Canaries:
    """Every secret that was sent or received, and who looks for them."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._genuine: dict[str, str] = {}
        self._numbers = itertools.count()

    def make(self, what: str) -> str:
        """A new secret; its ``what`` says later where one came from."""
        return self.know(f"{_MARK}{next(self._numbers)}-{secrets.token_urlsafe(12)}", what)

    def know(self, secret: str, what: str) -> str:
        """Take ``secret``, which somebody else has made, for one to look for."""
        if len(secret) >= _SHORTEST:
            self._known[secret] = what
        return secret

    def learn(self, message: Message) -> None:
        """Take what ``message`` marks as secret for secrets to look for."""
        for name, text in _secret_texts(message):
            self._genuine[_last_part(name)] = self.know(text, name)

    def genuine(self, what: str) -> str:
        """The newest secret of that kind that the mesh itself has given out; a new one where it has not."""
        name = _last_part(what)
        return self._genuine.get(_ALIASES.get(name, name)) or self.make(what)

    def know_genuine(self, name: str, secret: str) -> None:
        """Take ``secret`` for a good one where a field of this name asks for it."""
        self._genuine[name] = self.know(secret, name)

    def found_in(self, text: str) -> list[str]:
        """What of them is in ``text``, as it is or encoded."""
        ours = any(map(text.__contains__, _MARKS))
        return sorted(
            f"{what}: {secret}"
            for secret, what in self._known.items()
            if (ours or not secret.startswith(_MARK)) and any(map(text.__contains__, _forms(secret)))
        )


def requests_for(method: MethodDescriptor, canaries: Canaries, validator: Validator) -> Iterator[Message]:
    """Requests of ``method`` with a secret wherever it takes one: as good as can be guessed, and bad ones."""
    kind = message_factory.GetMessageClass(method.input_type)
    takes_a_form = any(each.message_type is httpbody_pb2.HttpBody.DESCRIPTOR for each in method.input_type.fields)
    for secret in (
        canaries.genuine,
        canaries.make,
        lambda what: canaries.make(what) * 300,
        lambda what: f"{canaries.make(what)}\x00\n",
        lambda what: f"'\"{canaries.make(what)}\\'",
    ):
        for form in _FORMS if takes_a_form else _FORMS[:1]:
            request = kind()
            _Filler(secret, form).fill(request)
            yield request
            _correct(request, validator)
            yield request


@dataclass(frozen=True)
class _Filler:
    """Puts something into every field of a message."""

    secret: Callable[[str], str]
    """What a field that is marked as secret gets, by its name."""
    form: Mapping[str, str]

    def fill(self, message: Message, depth: int = 0) -> None:
        for each in message.DESCRIPTOR.fields:
            if each.containing_oneof is not None and message.WhichOneof(each.containing_oneof.name):
                continue
            if each.message_type is not None:
                self._fill_message(message, each, depth)
            elif each.enum_type is not None:
                _set(message, each, each.enum_type.values[-1].number)
            elif each.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
                marked = each.GetOptions().debug_redact
                text = self.secret(each.full_name) if marked else _NONSENSE
                _set(message, each, text.encode() if each.type == FieldDescriptor.TYPE_BYTES else text)
            elif each.type != FieldDescriptor.TYPE_BOOL:
                _set(message, each, 1)

    def _fill_message(self, message: Message, each: Any, depth: int) -> None:
        kind, value = each.message_type, getattr(message, each.name)
        if kind is httpbody_pb2.HttpBody.DESCRIPTOR:
            value.CopyFrom(_body(self.secret, self.form))
        elif kind.GetOptions().map_entry:
            if kind.fields_by_name["value"].type == FieldDescriptor.TYPE_STRING:
                value.update(_headers(self.secret))
        elif depth < _DEEPEST and kind.file.package != "google.protobuf":
            self.fill(value.add() if each.is_repeated else value, depth + 1)


def _set(message: Message, field: Any, value: Any) -> None:
    if field.is_repeated:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)


def _correct(request: Message, validator: Validator) -> None:
    """Give each field that is not secret, and breaks a rule, whatever breaks fewest."""
    for each in request.DESCRIPTOR.fields:
        if each.type != FieldDescriptor.TYPE_STRING or each.GetOptions().debug_redact:
            continue

        def problems(text: str, each: Any = each) -> int:
            request.ClearField(each.name)
            if text or not each.is_repeated:
                _set(request, each, text)
            return len(validator.collect_violations(request))

        problems(min(_PLAUSIBLE, key=problems))


def _body(secret: Callable[[str], str], form: Mapping[str, str]) -> httpbody_pb2.HttpBody:
    names = ("client_secret", "refresh_token", "code", "code_verifier", "password", "second_factor")
    given = {
        **form,
        "client_id": "lmk_somebody",
        "username": "somebody",
        **{name: secret(f"form {name}") for name in names},
    }
    return httpbody_pb2.HttpBody(content_type="application/x-www-form-urlencoded", data=urlencode(given).encode())


def _headers(secret: Callable[[str], str]) -> dict[str, str]:
    return {"x-api-key": secret("header x-api-key"), "authorization": f"Bearer {secret('header authorization')}"}


def _secret_texts(message: Message, hidden: bool = False) -> Iterator[tuple[str, str]]:
    for field, value in message.ListFields():
        secret = hidden or field.GetOptions().debug_redact
        for each in value if field.is_repeated else [value]:
            if isinstance(each, Message):
                yield from _secret_texts(each, secret)
            elif secret and isinstance(each, str):
                yield field.full_name, each
            elif secret and isinstance(each, bytes):
                yield from re.findall(r'"(\w+_token)":\s*"([^"]+)"', each.decode("utf-8", "replace"))


def _last_part(name: str) -> str:
    return name.replace(" ", ".").rpartition(".")[2]


@cache
def _forms(secret: str) -> set[str]:
    raw = secret.encode()
    found = {secret, quote(secret, safe=""), quote_plus(secret), raw.hex(), repr(secret)[1:-1]}
    for shift in range(3):
        # What stands before it in the same text moves it by so many bytes; its middle is recognisable.
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(encode(bytes(shift) + raw)[4:-4].decode())
    return {form for form in found if len(form) >= _SHORTEST}


_MARKS = _forms(_MARK)
"""Parts of every form of every secret that was made here, without which none of them has to be looked for."""
