"""Owns model versions, deployments and the engine: from an adapter to an answer."""
