"""Logs of other frameworks, read once from front to back, as records like those that hpcscale's own runs write."""
