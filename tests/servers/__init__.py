"""Servers of files and data on 127.0.0.1 that tests read over real sockets, and that fail when told to."""
