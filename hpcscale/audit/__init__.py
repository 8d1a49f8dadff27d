"""Recomputes what a table says from the rest of the table."""
