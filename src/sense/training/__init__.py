"""SFT and preference learning; a schema is paid for once."""
