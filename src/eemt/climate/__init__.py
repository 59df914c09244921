"""Monthly climate: where it comes from and how it is carried to each cell."""
