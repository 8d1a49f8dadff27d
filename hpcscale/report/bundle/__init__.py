"""Archives of a study: what it was, what it measured and what was reported, so that somebody else can report it again."""
