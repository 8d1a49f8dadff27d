"""Job scripts: rendering them, and running those of this computer."""
