"""EEMT: one tile for all its years and methods."""

for name, sites, cases in batches_of_transfer():

    rule:
        name:
            name
        input:
            dem="<results>/{site}/dem/tiles/{tile}.tif",
            climate="<results>/{site}/climate/climate.nc",
            northness="<results>/{site}/terrain/tiles/{tile}/northness.tif",
            slope="<results>/{site}/terrain/tiles/{tile}/slope.tif",
            mcwi="<results>/{site}/wetness/mcwi.tif",
            sun=sun_of(cases, "monthly_global"),
            flat_sun=sun_of(cases, "monthly_flat_global"),
            ndvi=raster("ndvi"),
            canopy_height=raster("canopy_height"),
        output:
            [f"<results>/{{site}}/eemt{case}/{{tile}}.nc" for case in cases],
        log:
            f"<logs>/{{site}}/transfer{cases[0]}/{{tile}}.log",
        benchmark:
            f"<benchmarks>/{{site}}/transfer{cases[0]}/{{tile}}.tsv"
        wildcard_constraints:
            site=sites,
        threads: 2
        resources:
            mem_mb=growing(1200, 500),
            runtime=growing(30 + len(cases)),
        params:
            halo=plan("halo"),
            lapse=options("climate", only=LAPSE),
            options=options_but_rasters("eemt"),
            rasters=rasters,
            outputs=outputs_of(cases),
            algorithm=ALGORITHMS["transfer"],
        message:
            "{wildcards.site}: EEMT of tile {wildcards.tile}"
            + (f", {len(cases)} cases" if len(cases) > 1 else "")
        shell:
            "eemt transfer {input.dem:q} --halo {params.halo} --climate {input.climate:q}"
            " --northness {input.northness:q} --slope {input.slope:q} --mcwi {input.mcwi:q} --sun {input.sun:q}"
            " --flat-sun {input.flat_sun:q} {params.lapse} {params.options} {params.rasters}"
            " --threads {threads} {params.outputs} > {log:q} 2>&1"
