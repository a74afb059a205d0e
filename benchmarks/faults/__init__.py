"""Fault tests of a running server under load."""
