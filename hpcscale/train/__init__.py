"""What runs inside a job: the only room that imports torch."""
