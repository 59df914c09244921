"""Elevation: the grid that all maps are on, and its tiles."""


rule dem:
    input:
        source=own("elevation_files"),
    output:
        dem="<results>/{site}/dem/dem.tif",
        far_field="<results>/{site}/dem/far_field.tif",
        provenance="<results>/{site}/dem/dem.json",
    log:
        "<logs>/{site}/dem.log",
    benchmark:
        "<benchmarks>/{site}/dem.tsv"
    localrule: APART
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
        downloads=plan("elevation_downloads"),
    params:
        remote=plan("elevation_addresses"),
        out=subpath(output.dem, parent=True),
        options=options("dem", leave_out=["source"]),
        algorithm=ALGORITHMS["dem"],
    message:
        "{wildcards.site}: elevation to a grid in metres"
    shell:
        "eemt dem {input.source:q} {params.remote} --out {params.out:q} {params.options} > {log:q} 2>&1"


rule tile:
    input:
        dem="<results>/{site}/dem/dem.tif",
    output:
        "<results>/{site}/dem/tiles/{tile}.tif",
    log:
        "<logs>/{site}/tile/{tile}.log",
    benchmark:
        "<benchmarks>/{site}/tile/{tile}.tsv"
    threads: 1
    resources:
        mem_mb=growing(500, 50),
        runtime=growing(10),
    params:
        area=plan("area"),
        size=plan("tile_size"),
        halo=plan("halo"),
        algorithm=ALGORITHMS["tile"],
    message:
        "{wildcards.site}: tile {wildcards.tile}"
    shell:
        "eemt tile {input.dem:q} --area {params.area} --tile {wildcards.tile} --size {params.size} --halo {params.halo}"
        " --out {output:q} > {log:q} 2>&1"


rule own_raster:
    input:
        own_raster,
    output:
        "<results>/{site}/inputs/{raster}.tif",
    log:
        "<logs>/{site}/inputs/{raster}.log",
    localrule: True
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(30),
    message:
        "{wildcards.site}: {wildcards.raster} to where jobs can read it"
    shell:
        # rio convert would lose the scale of the values
        "python -c 'import sys, rasterio.shutil as files;"
        ' files.copy(*sys.argv[1:], driver="GTiff", compress="DEFLATE", tiled=True)\''
        " {input:q} {output:q} > {log:q} 2>&1"
