"""Finished runs kept for decades: packed, moved to long-term storage, verified, found again, brought back."""
