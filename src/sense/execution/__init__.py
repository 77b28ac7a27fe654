"""Run SQL that nobody vouches for, and compare results."""
