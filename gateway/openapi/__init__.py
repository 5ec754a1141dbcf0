"""The OpenAPI document of what the gateway serves over REST, generated from the contracts."""
