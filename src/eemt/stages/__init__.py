"""What each command does: files in, a kernel called on arrays, files out."""
