"""Measurements of accuracy and speed that take too long for tests."""
