"""Static charts for papers, a module for each kind: rows in, figure out."""
