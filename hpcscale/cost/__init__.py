"""What a point will take: exact parameter counts and FLOP conventions."""
