"""Tests of what runs inside a job: real processes, tiny models."""
