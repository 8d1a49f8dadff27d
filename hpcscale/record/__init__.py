"""The run record: what an attempt wrote, one JSON object a line; and the words for states and failures."""
