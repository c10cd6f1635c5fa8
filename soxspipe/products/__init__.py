"""Products on disk: names, headers, provenance, atomic files."""
