"""What the gateway answers by itself: the OpenAPI document, and the page on which it can be read and tried."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gateway.access import OPEN
from gateway.headers import set_header

Config = dict[str, Any]

LARGEST = 4 * 1024 * 1024
"""Bytes of such an answer; Envoy takes no larger file than it is told."""

_HERE = Path(__file__).parent
_STATIC = _HERE / "static"
_DISABLED: Config = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}
_SCRIPT = "text/javascript; charset=utf-8"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere. Swagger UI styles its elements where they stand."""

_PAGES: Mapping[str, tuple[Path, str]] = {
    "/openapi.yaml": (_HERE / "openapi.yaml", "application/yaml"),
    "/docs": (_STATIC / "docs.html", "text/html; charset=utf-8"),
    "/docs/docs.js": (_STATIC / "docs.js", _SCRIPT),
    "/docs/swagger-ui.css": (_STATIC / "swagger-ui" / "swagger-ui.css", "text/css; charset=utf-8"),
    "/docs/swagger-ui-bundle.js": (_STATIC / "swagger-ui" / "swagger-ui-bundle.js", _SCRIPT),
}
"""Path: file, content type."""


def page_files() -> Mapping[str, bytes]:
    """What Envoy reads, by the name that it has beside the configuration."""
    return {file.name: file.read_bytes() for file, _ in _PAGES.values()}


def page_routes(folder: Path, *, without: str) -> Iterator[Config]:
    """A route for each page, open to everybody; the filter ``without`` takes them for methods that there are not."""
    for path, (file, content_type) in _PAGES.items():
        headers = [
            set_header("content-type", content_type),
            set_header("content-security-policy", _POLICY),
            set_header("cache-control", "no-cache"),
        ]
        get = {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD"}}}
        yield {
            "name": path,
            "match": {"path": path, "headers": [get]},
            "direct_response": {"status": 200, "body": {"filename": str(folder / file.name)}},
            "response_headers_to_add": headers,
            "typed_per_filter_config": {**OPEN, without: _DISABLED},
        }
