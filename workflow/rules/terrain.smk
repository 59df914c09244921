"""Terrain: slopes of each tile, and the wetness of the whole site."""


rule terrain:
    input:
        dem="<results>/{site}/dem/tiles/{tile}.tif",
    output:
        slope="<results>/{site}/terrain/tiles/{tile}/slope.tif",
        aspect="<results>/{site}/terrain/tiles/{tile}/aspect.tif",
        northness="<results>/{site}/terrain/tiles/{tile}/northness.tif",
    log:
        "<logs>/{site}/terrain/{tile}.log",
    benchmark:
        "<benchmarks>/{site}/terrain/{tile}.tsv"
    threads: 1
    resources:
        mem_mb=growing(500, 150),
        runtime=growing(10),
    params:
        out=subpath(output.slope, parent=True),
        halo=plan("halo"),
        algorithm=ALGORITHMS["terrain"],
    message:
        "{wildcards.site}: slope, aspect and northness of tile {wildcards.tile}"
    shell:
        "eemt terrain {input.dem:q} --halo {params.halo} --out {params.out:q} > {log:q} 2>&1"


rule wetness:
    input:
        dem="<results>/{site}/dem/dem.tif",
    output:
        area="<results>/{site}/wetness/area.tif",
        twi="<results>/{site}/wetness/twi.tif",
        mcwi="<results>/{site}/wetness/mcwi.tif",
    log:
        "<logs>/{site}/wetness.log",
    benchmark:
        "<benchmarks>/{site}/wetness.tsv"
    threads: 2
    resources:
        mem_mb=growing(700, 60, of="million_cells"),
        runtime=growing(30),
    params:
        out=subpath(output.twi, parent=True),
        area=plan("area"),
        options=options("wetness"),
        algorithm=ALGORITHMS["wetness"],
    message:
        "{wildcards.site}: topographic wetness of the whole site"
    shell:
        "eemt wetness {input.dem:q} --area {params.area} --out {params.out:q} {params.options} > {log:q} 2>&1"
