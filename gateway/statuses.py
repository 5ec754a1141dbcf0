"""The HTTP status of answers that are not the mesh's own but the web's: OAuth's errors and redirections, pages.

gRPC can only succeed, which is 200, or fail, which loses the body. A method whose answer over REST is an HttpBody
succeeds, and says the status in a header.
"""

from typing import Any

Config = dict[str, Any]

LUA = "envoy.filters.http.lua"
HTTP_STATUS = "x-levimesh-http-status"
"""By it the service says the HTTP status; never seen outside, and without effect on gRPC."""

_TYPES = "type.googleapis.com/envoy.extensions.filters.http.lua.v3"
_SCRIPT = f"""
function envoy_on_response(handle)
  local headers = handle:headers()
  local status = string.match(headers:get("{HTTP_STATUS}") or "", "^[2345]%d%d$")
  if status and not string.find(headers:get("content-type") or "", "application/grpc", 1, true) then
    headers:replace(":status", status)
  end
end
"""


def status_filter() -> Config:
    """Does something only on the routes that say so, and comes after the transcoder there, which makes the answer."""
    return {"name": LUA, "typed_config": {"@type": f"{_TYPES}.Lua"}}


def own_status() -> Config:
    """What a route says for it."""
    return {LUA: {"@type": f"{_TYPES}.LuaPerRoute", "source_code": {"inline_string": _SCRIPT}}}
