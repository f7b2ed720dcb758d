"""The same deployments as in tests/integration."""

from tests.integration.conftest import either, embedded, scaled

__all__ = ["either", "embedded", "scaled"]
