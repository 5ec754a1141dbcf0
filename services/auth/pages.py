"""The pages on which a person logs in for a client: HTML without scripts or anything from elsewhere."""

import base64
import hashlib
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from services.auth.domain.oauth import AuthorizationRequest

_templates = Environment(
    loader=PackageLoader("services.auth"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
_style = _templates.get_template("page.css").render()
_style_hash = base64.b64encode(hashlib.sha256(_style.encode()).digest()).decode()


@dataclass(frozen=True)
class Page:
    """A page and what a browser is told to let it do."""

    html: str
    content_security_policy: str


def login_page(request: AuthorizationRequest, *, username: str = "", problem: str = "") -> Page:
    """The form to log in for ``request``; ``problem`` says what was wrong with the last try."""
    hidden = [
        ("response_type", "code"),
        ("client_id", request.client_id),
        ("redirect_uri", request.redirect_uri),
        ("scope", request.scope),
        ("state", request.state),
        ("nonce", request.nonce),
        ("code_challenge", request.code_challenge),
        ("code_challenge_method", "S256"),
    ]
    # A browser applies form-action to where the answer to the form sends it, too.
    return _page(
        "login.html",
        f"'self' {request.redirect_origin}",
        request=request,
        hidden=hidden,
        username=username,
        problem=problem,
    )


def refusal_page(problem: str) -> Page:
    """The page for a request that names no client that is known: it leads nowhere."""
    return _page("refused.html", "'none'", problem=problem)


def _page(template: str, form_action: str, **content: object) -> Page:
    # The style is this package's own, and stands there as it is so that its hash fits.
    html = _templates.get_template(template).render(style=Markup(_style), **content)  # noqa: S704 - not from outside
    policy = (
        f"default-src 'none'; style-src 'sha256-{_style_hash}'; form-action {form_action}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    return Page(html, policy)
