"""Caveau: a self-hosted secrets server that speaks the HashiCorp Vault HTTP API."""

__version__ = "0.1.0"

VAULT_VERSION = f"1.21.0+caveau.{__version__}"
"""What the API says its version is: clients of Vault decide by it which features they may use."""
