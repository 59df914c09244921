"""The sky-view factor, and the diffuse light that it lets through."""

import numpy as np
import pytest

from eemt.sun.horizon import FAR_FACTOR, NEAR_CELLS, FarField, coarsen, horizon_tangents
from eemt.sun.irradiation import irradiation
from eemt.sun.skyview import sky_view
from eemt.terrain import horn

DAYS = [80, 172, 355]
ENERGIES = ("global", "beam", "diffuse", "monthly_global")


def maps(z, **options):
    return irradiation(z, **{"dx": 10.0, "dy": 10.0, "latitude": 40.0, "days": DAYS, "threads": 1} | options)


def rough(seed, shape, relief=150.0):
    z = (relief * np.random.default_rng(seed).random(shape)).astype(np.float32)
    for _ in range(2):
        p = np.pad(z, 1, mode="edge")
        z = (p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:] + z) / np.float32(5)
    return z


def valley(depth):
    """A valley that runs north, 200 m wide between its rims, `depth` below them."""
    x = np.abs(np.arange(61) - 30) * 10.0
    return np.broadcast_to((1000 + depth * np.minimum(x / 100.0, 1.0)).astype(np.float32), (61, 61)).copy()


def open_view(slope):
    return 0.5 * (1 + np.cos(np.radians(slope)))


def test_level_plane_sees_all_of_the_sky():
    np.testing.assert_allclose(sky_view(np.zeros((64, 3, 4)), 0.0, 0.0), 1.0, rtol=1e-6)


@pytest.mark.parametrize("bearing", [0.0, 45.0, 101.0])
@pytest.mark.parametrize("slope", [1.0, 20.0, 45.0, 70.0])
def test_open_slope_sees_what_its_tilt_leaves(slope, bearing):
    rise = np.tan(np.radians(slope))
    p, q = rise * np.sin(np.radians(bearing)), rise * np.cos(np.radians(bearing))
    np.testing.assert_allclose(sky_view(np.zeros((64, 1, 1)), p, q), open_view(slope), atol=1e-3)


@pytest.mark.parametrize("height", [10.0, 45.0, 80.0])
def test_level_ground_under_an_even_horizon_sees_the_square_of_its_cosine(height):
    tangents = np.full((16, 1, 1), np.tan(np.radians(height)))
    np.testing.assert_allclose(sky_view(tangents, 0.0, 0.0), np.cos(np.radians(height)) ** 2, rtol=1e-5)


def test_one_wall_hides_half_of_what_a_wall_all_around_does():
    tangents = np.zeros((64, 1, 1))
    tangents[:32] = 1.0
    np.testing.assert_allclose(sky_view(tangents, 0.0, 0.0), 0.75, rtol=1e-6)


def test_deeper_valley_sees_less_sky_and_gets_less_diffuse_light():
    floors = [maps(valley(depth), sky_view=True) for depth in (0.0, 30.0, 80.0, 150.0)]
    views = [floor["sky_view"][0, 30, 30] for floor in floors]
    diffuse = [floor["diffuse"][1, 30, 30] for floor in floors]
    assert views[0] == 1.0
    assert all(np.diff(views) < -0.02)
    assert all(np.diff(diffuse) < 0)


@pytest.mark.parametrize("convention", ["eemt", "grass"])
def test_diffuse_light_is_never_above_what_an_open_slope_gets(convention):
    z = rough(1, (40, 70))
    narrow, whole = maps(z, sky_view=True, convention=convention), maps(z, convention=convention)
    assert (narrow["diffuse"] <= whole["diffuse"] + 1e-2).all()
    assert (narrow["diffuse"] >= 0).all()
    assert narrow["diffuse"].mean() < 0.99 * whole["diffuse"].mean()
    for name in ("beam", "insolation", "flat_global"):
        np.testing.assert_array_equal(narrow[name], whole[name])


def test_steep_gorge_keeps_light_positive():
    z = np.where(np.abs(np.arange(41) - 20) < 2, 0.0, 400.0).astype(np.float32) + np.zeros((41, 1), np.float32)
    ours = maps(z, sky_view=True)
    assert (ours["diffuse"] > 0).all()
    assert ours["sky_view"].min() < 0.1


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_open_plane_gets_the_same_with_and_without(slope):
    z = (1000 + slope * 10 * np.arange(20.0) + np.zeros((20, 1))).astype(np.float32)
    narrow, whole = maps(z, sky_view=True, max_distance=1.0), maps(z, max_distance=1.0)
    for name in ENERGIES:
        np.testing.assert_allclose(narrow[name], whole[name], rtol=1e-3, atol=0.5)


def test_parts_add_up_under_a_narrow_sky():
    ours = maps(rough(2, (20, 30)), sky_view=True, albedo=0.0)
    np.testing.assert_allclose(ours["global"], ours["beam"] + ours["diffuse"], rtol=1e-5, atol=1e-2)


def test_months_alone_are_the_sums_of_days_under_a_narrow_sky():
    z = rough(3, (20, 30))
    z[4:8, 5:9] = 80.0
    options = {"days": range(160, 165), "sky_view": True}
    days, months = maps(z, **options), maps(z, daily=False, **options)
    np.testing.assert_allclose(months["monthly_global"][5], days["global"].sum(axis=0), rtol=2e-5)


def test_map_of_sky_view_is_that_of_the_library():
    z = rough(4, (30, 30))
    z[10:12, 20] = np.nan
    view = sky_view(horizon_tangents(z, dx=10.0, dy=10.0), *horn(z, 10.0, 10.0))
    np.testing.assert_allclose(maps(z, sky_view=True)["sky_view"][0], view, rtol=1e-6)
    assert np.isnan(view).sum() == 2


def test_horizons_are_returned_in_degrees_and_above_the_cells_own_slope():
    z = rough(5, (30, 30))
    z[3, 3] = np.nan
    ours = maps(z, horizons=True, azimuths=16)["horizon"]
    tangents = horizon_tangents(z, dx=10.0, dy=10.0, azimuths=16)
    assert ours.shape == tangents.shape
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(tangents))
    assert (ours >= np.degrees(np.arctan(tangents)) - 1e-4)[~np.isnan(ours)].all()
    _, dz_dy = horn(z, 10.0, 10.0)
    wanted = np.maximum(np.arctan(tangents[0]), np.arctan(dz_dy))
    np.testing.assert_allclose(ours[0], np.degrees(wanted), atol=1e-3)


def test_tiled_equals_untiled_under_a_narrow_sky():
    z = rough(6, (140, 150), relief=400.0)
    halo = NEAR_CELLS + 2
    whole = maps(z, sky_view=True, horizons=True)
    padded = np.pad(z, halo, constant_values=np.nan)
    rows, cols = slice(40, 90), slice(70, 150)
    tile = padded[rows.start : rows.stop + 2 * halo, cols.start : cols.stop + 2 * halo]
    far = FarField(coarsen(z, FAR_FACTOR), FAR_FACTOR, rows.start - halo, cols.start - halo)
    core = (slice(halo, halo + 50), slice(halo, halo + 80))
    part = maps(tile, core=core, far=far, sky_view=True, horizons=True)
    for name in (*ENERGIES, "sky_view", "horizon"):
        np.testing.assert_array_equal(part[name], whole[name][:, rows, cols])


def test_misshapen_tangents_are_refused():
    with pytest.raises(ValueError, match="azimuths, rows and columns"):
        sky_view(np.zeros((64, 3)), 0.0, 0.0)
