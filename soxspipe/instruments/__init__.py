"""Instrument tables: header keywords and detector facts, one YAML file an instrument."""
