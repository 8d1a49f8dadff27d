"""hpcscale: batch jobs and scaling studies for LLM training on supercomputers."""

__version__ = "0.1.0"
