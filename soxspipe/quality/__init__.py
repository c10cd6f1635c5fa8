"""Quality figures."""
