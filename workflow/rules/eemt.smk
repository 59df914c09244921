"""EEMT: one tile for all its years and methods."""


rule transfer:
    input:
        dem="<results>/{site}/dem/tiles/{tile}.tif",
        climate="<results>/{site}/climate/climate.nc",
        northness="<results>/{site}/terrain/tiles/{tile}/northness.tif",
        slope="<results>/{site}/terrain/tiles/{tile}/slope.tif",
        mcwi="<results>/{site}/wetness/mcwi.tif",
        sun="<results>/{site}/sun/tiles/{tile}/monthly_global.tif",
        flat_sun="<results>/{site}/sun/tiles/{tile}/monthly_flat_global.tif",
        ndvi=raster("ndvi"),
        canopy_height=raster("canopy_height"),
    output:
        "<results>/{site}/eemt/{tile}.nc",
    log:
        "<logs>/{site}/transfer/{tile}.log",
    benchmark:
        "<benchmarks>/{site}/transfer/{tile}.tsv"
    threads: 2
    resources:
        mem_mb=growing(600, 500),
        runtime=growing(30),
    params:
        halo=plan("halo"),
        lapse=options("climate", only=LAPSE),
        options=options_but_rasters("eemt"),
        rasters=rasters,
        algorithm=ALGORITHMS["transfer"],
    message:
        "{wildcards.site}: EEMT of tile {wildcards.tile}"
    shell:
        "eemt transfer {input.dem:q} --halo {params.halo} --climate {input.climate:q}"
        " --northness {input.northness:q} --slope {input.slope:q} --mcwi {input.mcwi:q} --sun {input.sun:q}"
        " --flat-sun {input.flat_sun:q} {params.lapse} {params.options} {params.rasters} --threads {threads} --out {output:q} > {log:q} 2>&1"
