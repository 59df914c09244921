"""The engine and GRASS r.sun against rays to the sun itself, every 3 minutes: ours must be nearer."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import faithfulness
from benchmarks.faithfulness import DAYS, comparable, eemt, errors, stored, truth
from benchmarks.reference import reference, sees_sun

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("surface", ["jacksboro", "steep"])
def test_maps_are_nearer_the_truth_than_those_of_rsun(surface):
    elevation, grid, peer = stored(DATA / f"rsun_{surface}.npz")
    cells = comparable(elevation, grid)
    fine, ours = truth(elevation, grid), eemt(elevation, grid, threads=1)
    for day in DAYS:
        apart, hours, _ = errors(ours[day], fine[day], cells)
        peer_apart, peer_hours, _ = errors(peer[day], fine[day], cells)
        assert apart < 0.4 * peer_apart
        assert hours < 0.25 * peer_hours


def test_the_reference_has_settled_at_its_time_step():
    elevation, grid, _ = stored(DATA / "rsun_steep.npz")
    part = elevation[20:60, 20:60]
    at = {step: reference(part, dx=grid.dx, dy=grid.dy, latitude=36.6, day=355, step=step) for step in (3.0, 1.0)}
    apart, hours, _ = errors(at[3.0], at[1.0], np.ones(part.shape, bool))
    assert apart < 5e-4
    assert hours < 0.02


def test_the_reference_sees_over_a_wall_from_where_geometry_says():
    z = np.zeros((3, 40))
    z[:, 30] = 100.0
    tangent = 100.0 / (20 * 10.0)
    assert not sees_sun(z, 1, 10, 10.0, 10.0, 1.0, 0.0, 0.99 * tangent, 100.0)
    assert sees_sun(z, 1, 10, 10.0, 10.0, 1.0, 0.0, 1.01 * tangent, 100.0)
    assert sees_sun(z, 1, 10, 10.0, 10.0, -1.0, 0.0, 0.01, 100.0)


def test_without_grass_the_table_says_so_and_leaves_it_out(monkeypatch, capsys):
    elevation, grid, _ = stored(DATA / "rsun_steep.npz")
    small = np.ascontiguousarray(elevation[:24, :24]), grid.window(slice(0, 24), slice(0, 24))
    monkeypatch.setattr(faithfulness, "surfaces", lambda: {"a corner": small})
    monkeypatch.setattr(faithfulness.peers, "available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["faithfulness"])
    faithfulness.main()
    printed = capsys.readouterr().out
    assert "GRASS is missing" in printed
    assert printed.count("a corner") == len(DAYS)
    assert "r.sun |" not in printed
    assert all(line.rsun_global is None and line.rsun_hours is None for line in faithfulness.table())
