"""Informers against a real server for minutes: random writers, cuts and crashes from a seed, and what must hold."""
