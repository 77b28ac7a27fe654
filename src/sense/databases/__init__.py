"""Databases as text-to-SQL sees them: schemas, values, files, the layouts of Spider and BIRD."""
