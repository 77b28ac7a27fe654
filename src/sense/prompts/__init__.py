"""What models are told, and how their answers are read."""
