"""Build entry point for tools that still look for setup.py; pyproject.toml holds everything."""

from setuptools import setup

setup()
