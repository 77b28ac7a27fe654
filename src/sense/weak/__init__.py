"""Weak data: sample, label, pair."""
