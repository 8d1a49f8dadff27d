"""Records and published tables, all into one DataFrame with one schema."""
