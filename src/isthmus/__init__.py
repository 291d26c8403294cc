"""Isthmus: an AI gateway and an agent platform in one server."""

__version__ = "0.1.0"
