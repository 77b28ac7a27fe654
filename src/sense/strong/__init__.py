"""Strong data: a strong model writes databases, questions and SQL; each is run before it is kept."""
