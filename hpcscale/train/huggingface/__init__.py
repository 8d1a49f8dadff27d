"""Weights in Hugging Face's format: config.json and safetensors files, read into any layout and written from it."""
