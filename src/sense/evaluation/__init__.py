"""Scores: official to the letter, with intervals."""
