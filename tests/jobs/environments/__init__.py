"""Tests of how a job gets its Python: scripts run with stand-ins for the commands of a cluster."""
