"""Logger ``eemt``: tells what happens in a run, event by event, to a file of JSON lines."""
