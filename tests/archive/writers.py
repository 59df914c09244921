"""A program that writes a file to an area, and is killed in the middle of it."""

KILLED_WRITER = """
import sys, time
from eemt.archive.areas import open_area

def pieces():
    for _ in range(40):
        yield bytes(1 << 20)
    print("half", flush=True)
    time.sleep(600)

open_area(sys.argv[1]).put("set/data/0001.tar", pieces(), 80 << 20)
"""
