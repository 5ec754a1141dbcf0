"""The edge of the mesh: Envoy's configuration, rendered from the contracts."""
