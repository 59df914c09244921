"""The web service: submit, watch, look at, download. On top of everything; nothing below knows of it."""
