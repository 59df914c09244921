"""Irradiation maps: the physics they must obey and the promises made of them."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eemt.sun.clearsky import beam_transmission, diffuse_transmission
from eemt.sun.horizon import FAR_FACTOR, NEAR_CELLS, FarField, coarsen
from eemt.sun.irradiation import DAILY, MONTHLY, irradiation, strips
from eemt.sun.position import day_length, declination, extraterrestrial, sun_position

SEASONS = [1, 80, 172, 264, 355]


def maps(z, **options):
    """Maps of a grid with 10 m cells at 36 degrees north, unless told otherwise."""
    return irradiation(z, **{"dx": 10.0, "dy": 10.0, "latitude": 36.0, "days": SEASONS, "threads": 1} | options)


def rough(seed, shape, relief=150.0, holes=0.0):
    rng = np.random.default_rng(seed)
    z = (relief * rng.random(shape)).astype(np.float32)
    for _ in range(2):
        p = np.pad(z, 1, mode="edge")
        z = (p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:] + z) / np.float32(5)
    if holes:
        z[rng.random(shape) < holes] = np.nan
    return z


def plane(shape, dz_dx, dz_dy):
    y, x = np.mgrid[: shape[0], : shape[1]] * 10.0
    return (1000.0 + dz_dx * (x - x.mean()) - dz_dy * (y - y.mean())).astype(np.float32)


# --- level ground ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("latitude", [-66.0, -33.0, 0.0, 36.0, 58.0])
def test_flat_plane_gets_the_clear_sky_of_a_level_surface(latitude):
    z = np.full((5, 5), 1200.0)
    ours = maps(z, latitude=latitude)
    for i, day in enumerate(SEASONS):
        length = day_length(latitude, day)
        hours = 12 + length * ((np.arange(4000) + 0.5) / 4000 - 0.5)
        height, _ = sun_position(latitude, day, hours)
        amount = extraterrestrial(day) * length / 4000
        beam = amount * (beam_transmission(height, 1200.0) * np.sin(np.radians(height))).sum()
        diffuse = amount * diffuse_transmission(height).sum()
        np.testing.assert_allclose(ours["beam"][i], beam, rtol=2e-3, atol=0.1)
        np.testing.assert_allclose(ours["diffuse"][i], diffuse, rtol=2e-3, atol=0.1)
        np.testing.assert_allclose(ours["flat_global"][i], beam + diffuse, rtol=2e-3, atol=0.1)
        np.testing.assert_allclose(ours["insolation"][i], length, atol=1e-3)
        np.testing.assert_allclose(ours["global"][i], ours["flat_global"][i], rtol=1e-6)


@pytest.mark.parametrize("latitude", [-40.0, 0.0, 36.0])
def test_with_clean_air_and_height_the_beam_nears_the_closed_form_outside_the_atmosphere(latitude):
    z = np.full((3, 3), 9000.0)
    ours = maps(z, latitude=latitude, days=[172], linke=1.0)
    sine = 0.3978 * np.sin(2 * np.pi * 172 / 365.25 - 1.4 + 0.0355 * np.sin(2 * np.pi * 172 / 365.25 - 0.0489))
    phi, delta = np.radians(latitude), np.arcsin(sine)
    dusk = np.arccos(-np.tan(phi) * np.tan(delta))
    outside = (
        (24 / np.pi)
        * extraterrestrial(172)
        * (np.cos(phi) * np.cos(delta) * np.sin(dusk) + dusk * np.sin(phi) * np.sin(delta))
    )
    assert 0.85 * outside < ours["beam"][0].mean() < outside


def test_flat_plane_gets_no_shadow():
    z = np.full((12, 150), 300.0)
    np.testing.assert_array_equal(maps(z)["global"], maps(z, shadows=False)["global"])


def test_polar_night_is_dark_and_polar_day_is_never():
    ours = maps(np.full((4, 4), 10.0), latitude=75.0, days=[172, 355])
    np.testing.assert_allclose(ours["insolation"][0], 24.0)
    assert (ours["global"][0] > 5000).all()
    for name in DAILY:
        assert (ours[name][1] == 0).all()


@pytest.mark.parametrize("latitude", [90.0, -90.0, 66.55])
@pytest.mark.parametrize("convention", ["eemt", "grass"])
def test_the_poles_and_the_polar_circle_are_finite(latitude, convention):
    ours = maps(rough(0, (8, 8)), latitude=latitude, days=range(1, 366, 30), convention=convention)
    for name in DAILY + MONTHLY:
        assert np.isfinite(ours[name]).all()
        assert (ours[name] >= 0).all()


def test_equator_at_the_equinox_has_the_sun_overhead():
    ours = maps(rough(4, (10, 10)), latitude=0.0, days=[80, 81])
    assert np.isfinite(ours["global"]).all()
    assert ours["flat_global"].min() > 7000


# --- symmetry -------------------------------------------------------------------------------------------------------


def test_east_and_west_slopes_are_equal_over_a_day():
    east, west = maps(plane((6, 6), -0.5, 0.0)), maps(plane((6, 6), 0.5, 0.0))
    for name in DAILY:
        np.testing.assert_allclose(east[name].mean(axis=(1, 2)), west[name].mean(axis=(1, 2)), rtol=1e-4)


def test_south_slopes_get_more_than_north_slopes_and_the_reverse_in_the_south():
    south, north = plane((6, 6), 0.0, 0.4), plane((6, 6), 0.0, -0.4)
    assert (maps(south)["global"] > maps(north)["global"]).all()
    assert (maps(south, latitude=-36.0)["global"] < maps(north, latitude=-36.0)["global"]).all()


def test_mirrored_terrain_gives_mirrored_maps():
    z = rough(5, (24, 31))
    straight, mirrored = maps(z), maps(np.ascontiguousarray(z[:, ::-1]))
    for name in DAILY:
        np.testing.assert_allclose(mirrored[name][:, :, ::-1], straight[name], rtol=2e-4, atol=0.5)


def test_southern_hemisphere_mirrors_the_northern():
    z = rough(6, (20, 20))
    days = np.arange(1, 366)
    partner = int(days[np.abs(declination(days) + declination(100)).argmin()])
    north = maps(z, days=[100])
    south = maps(np.ascontiguousarray(z[::-1]), latitude=-36.0, days=[partner])
    scale = float(extraterrestrial(partner) / extraterrestrial(100))
    np.testing.assert_allclose(south["insolation"][0, ::-1], north["insolation"][0], atol=0.2)
    assert south["beam"].mean() == pytest.approx(scale * north["beam"].mean(), rel=3e-3)


def test_turning_grid_and_terrain_together_changes_nothing():
    z = plane((7, 7), 0.3, -0.2)
    turned = plane((7, 7), 0.2, 0.3)  # the same slope on a grid whose north points east
    ours, straight = maps(turned, convergence=90.0)["global"], maps(z)["global"]
    np.testing.assert_allclose(ours[:, 3, 3], straight[:, 3, 3], rtol=1e-3)


def test_convergence_has_the_sign_of_pyproj():
    from pyproj import Geod, Proj

    utm = Proj(32613)
    longitude, latitude = -103.2, 40.0  # east of the central meridian, 105 W
    x, y = utm(longitude, latitude)
    bearing = Geod(ellps="WGS84").inv(longitude, latitude, *utm(x, y + 100.0, inverse=True))[0]
    convergence = utm.get_factors(longitude, latitude).meridian_convergence
    assert bearing > 1.0
    assert convergence == pytest.approx(bearing, abs=1e-3)
    # grid north lies east of true north, so a slope that faces grid east faces south of true east and gains in winter
    z = plane((5, 5), -0.5, 0.0)
    turned, straight = (maps(z, latitude=latitude, convergence=c, days=[355]) for c in (convergence, 0.0))
    assert (turned["beam"] > straight["beam"]).all()


def test_the_year_closes():
    z = rough(7, (20, 20))
    ours = maps(z, days=[1, 365])
    change = ours["global"][1] / ours["global"][0] - 1
    assert abs(change.mean()) < 0.01
    assert np.percentile(np.abs(change), 95) < 0.02


# --- shadows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("convention", ["eemt", "grass"])
def test_a_wall_never_adds_beam(convention):
    z = rough(8, (30, 30), relief=40.0)
    walled = z.copy()
    walled[:, 20] += 80.0
    before, after = maps(z, convention=convention), maps(walled, convention=convention)
    away = np.r_[0:18, 23:30]  # the wall changes the slope of its neighbours
    assert (after["beam"][:, :, away] <= before["beam"][:, :, away] + 1.0).all()  # Wh m-2, of several thousand
    assert after["beam"][:, :, away].sum() < 0.99 * before["beam"][:, :, away].sum()


def test_a_deeper_valley_never_gains_insolation():
    x = np.abs(np.arange(41) - 20.0)
    hours = [
        maps(np.tile(depth * x, (30, 1)), days=[172, 355])["insolation"][:, 10:20, 20]
        for depth in (1.0, 3.0, 6.0, 12.0)
    ]
    for shallow, deep in itertools.pairwise(hours):
        assert (deep <= shallow + 1e-4).all()


def test_shadows_can_be_left_out():
    z = rough(9, (30, 30))
    assert (maps(z, shadows=False)["beam"] >= maps(z)["beam"] - 1.0).all()
    assert maps(z, shadows=False)["beam"].sum() > maps(z)["beam"].sum()


def test_holes_stay_holes_and_the_edge_has_values():
    z = rough(10, (20, 26), holes=0.05)
    ours = maps(z)
    for name in DAILY + MONTHLY:
        np.testing.assert_array_equal(np.isnan(ours[name]).all(axis=0), np.isnan(z))
        np.testing.assert_array_equal(np.isnan(ours[name]).any(axis=0), np.isnan(z))


def test_a_hole_casts_no_shadow():
    z = np.full((21, 21), 100.0, np.float32)
    z[:, 14] = np.nan
    ours = maps(z)
    np.testing.assert_allclose(np.nanmin(ours["insolation"], axis=(1, 2)), np.nanmax(ours["insolation"], axis=(1, 2)))


# --- sums -----------------------------------------------------------------------------------------------------------


def test_global_is_beam_plus_diffuse_plus_reflected():
    z = rough(11, (20, 20))
    dark, light = maps(z, albedo=0.0), maps(z, albedo=0.5)
    np.testing.assert_allclose(dark["global"], dark["beam"] + dark["diffuse"], rtol=1e-5)
    reflected = light["global"] - light["beam"] - light["diffuse"]
    assert (reflected > 0).any()
    np.testing.assert_array_equal(dark["beam"], light["beam"])
    np.testing.assert_allclose(maps(z, albedo=0.25)["global"] - dark["global"], 0.5 * reflected, atol=0.5)


@pytest.mark.parametrize("convention", ["eemt", "grass"])
def test_months_are_the_sums_of_their_days(convention):
    z = rough(12, (13, 70), holes=0.02)
    days = [3, 17, 31, 32, 170, 365]
    ours = maps(z, days=days, convention=convention)
    alone = maps(z, days=days, daily=False, convention=convention)
    month = {0: [0, 1, 2], 1: [3], 5: [4], 11: [5]}
    for name in MONTHLY:
        for m in range(12):
            expected = ours[name.removeprefix("monthly_")][month.get(m, [])].sum(axis=0) + 0 * z
            np.testing.assert_allclose(ours[name][m], expected, rtol=1e-5, atol=1e-3)
            np.testing.assert_allclose(alone[name][m], expected, rtol=1e-4, atol=0.05)
    assert set(alone) == set(MONTHLY)


def test_every_third_day_gives_nearly_the_same_months():
    z = rough(19, (20, 20), relief=60.0)
    every = maps(z, days=range(1, 366), daily=False)
    third = maps(z, days=range(1, 366), daily=False, day_stride=3)
    for name in MONTHLY:
        assert np.abs(third[name] - every[name]).mean() < 1e-3 * every[name].mean()
        np.testing.assert_allclose(third[name].sum(axis=0), every[name].sum(axis=0), rtol=5e-3)


def test_days_come_in_the_order_asked_for():
    z = rough(13, (6, 6))
    backwards = maps(z, days=[355, 172, 1])
    for i, day in enumerate([355, 172, 1]):
        np.testing.assert_array_equal(backwards["global"][i], maps(z, days=[day])["global"][0])


def test_turbidity_by_month_and_by_day():
    z = rough(14, (6, 6))
    monthly = np.linspace(2.0, 5.0, 12)
    by_month = maps(z, linke=monthly)
    by_day = maps(z, linke=np.repeat(monthly, [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]))
    np.testing.assert_array_equal(by_month["global"], by_day["global"])
    np.testing.assert_array_equal(maps(z, days=[172], linke=monthly[5])["global"][0], by_month["global"][2])


def test_albedo_by_month_and_as_a_map():
    z = rough(15, (9, 70))
    even = maps(z, albedo=0.3)
    np.testing.assert_array_equal(maps(z, albedo=np.full(12, 0.3))["global"], even["global"])
    np.testing.assert_array_equal(maps(z, albedo=np.full(z.shape, 0.3))["global"], even["global"])


# --- tiling ---------------------------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(0, 200),
    st.sampled_from([1, 2, 7, 33]),
    st.integers(0, 200),
    st.integers(1, 80),
    st.integers(1, 40),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from(["eemt", "grass"]),
)
def test_tiled_equals_untiled(seed, top, rows, left, cols, strip_rows, threads, daily, convention):
    shape = (210, 230)
    z = rough(seed, shape, relief=400.0, holes=0.01)
    rng = np.random.default_rng(seed)
    rows, cols = min(rows, shape[0] - top), min(cols, shape[1] - left)
    halo = NEAR_CELLS + 2
    tile = np.pad(z, halo, constant_values=np.nan)[top : top + rows + 2 * halo, left : left + cols + 2 * halo]
    coarse = coarsen(z, FAR_FACTOR)
    edges = np.array([0, 100, 230])
    latitude, convergence = rng.uniform(30, 50, (shape[0], 2)), rng.uniform(-3, 3, (shape[0], 2))
    common = {"dx": 10.0, "dy": 12.0, "days": [20, 172], "azimuths": 16, "daily": daily, "convention": convention}
    key = (seed, daily, convention)
    if key not in _WHOLE:
        _WHOLE.clear()
        _WHOLE[key] = irradiation(
            z,
            **common,
            latitude=latitude,
            convergence=convergence,
            blocks=edges,
            far=FarField(coarse, FAR_FACTOR, 0, 0),
        )
    inner = [e - left for e in edges if left < e < left + cols]
    block = [0, 1] if left < 100 < left + cols else ([0] if left < 100 else [1])
    part = irradiation(
        tile,
        **common,
        latitude=latitude[top : top + rows, block],
        convergence=convergence[top : top + rows, block],
        blocks=np.array([0, *inner, cols]),
        core=(slice(halo, halo + rows), slice(halo, halo + cols)),
        far=FarField(coarse, FAR_FACTOR, top - halo, left - halo),
        strip_rows=strip_rows,
        threads=threads,
    )
    for name, values in part.items():
        np.testing.assert_array_equal(values, _WHOLE[key][name][:, top : top + rows, left : left + cols])


_WHOLE: dict = {}


def test_strips_come_from_north_to_south_and_cover_the_core():
    z = rough(16, (37, 20))
    found = [where for where, _ in strips(z, dx=10, dy=10, latitude=36.0, days=[1], strip_rows=10, threads=2)]
    assert found == [slice(0, 10), slice(10, 20), slice(20, 30), slice(30, 37)]


# --- conventions and arguments --------------------------------------------------------------------------------------


def test_grass_convention_counts_whole_steps():
    z = rough(17, (20, 20))
    hours = maps(z, convention="grass")["insolation"]
    np.testing.assert_allclose(hours / 0.25, np.round(hours / 0.25), atol=1e-3)


def test_conventions_agree_on_gentle_ground():
    z = rough(18, (25, 25), relief=10.0)
    ours, grass = maps(z), maps(z, convention="grass")
    np.testing.assert_allclose(grass["global"].mean(axis=(1, 2)), ours["global"].mean(axis=(1, 2)), rtol=5e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"elevation": np.zeros(5)}, "elevation"),
        ({"dx": 0.0}, "dx, dy"),
        ({"latitude": 95.0}, "latitude"),
        ({"latitude": np.zeros((3, 1))}, "latitude"),
        ({"convergence": np.nan}, "convergence"),
        ({"blocks": [0, 4]}, "blocks"),
        ({"blocks": [0, 4, 4, 8]}, "blocks"),
        ({"core": (slice(9, 9), slice(None))}, "core"),
        ({"days": []}, "days"),
        ({"days": [0]}, "days"),
        ({"days": [366]}, "days"),
        ({"days": [5, 5]}, "days"),
        ({"days": [1.5]}, "days"),
        ({"step": 0.0}, "step"),
        ({"step": 121.0}, "step"),
        ({"linke": 0.5}, "linke"),
        ({"linke": [3.0, 3.0]}, "linke"),
        ({"albedo": 1.5}, "albedo"),
        ({"albedo": [0.2, 0.2]}, "albedo"),
        ({"convention": "saga"}, "convention"),
        ({"azimuths": 1}, "azimuths"),
        ({"max_distance": -1.0}, "max_distance"),
        ({"strip_rows": 0}, "strip_rows"),
        ({"day_stride": 2}, "day_stride"),
        ({"threads": 0}, "threads"),
    ],
)
def test_bad_arguments_are_named_at_once(change, message):
    options = {"elevation": np.zeros((8, 8)), "dx": 10.0, "dy": 10.0, "latitude": 36.0} | change
    with pytest.raises(ValueError, match=message):
        strips(options.pop("elevation"), **options)


def test_importing_the_package_does_not_import_numba():
    import subprocess
    import sys

    code = "import sys, eemt, eemt.sun; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
