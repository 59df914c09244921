"""Elevation: the grid that all maps are on, and its tiles."""


def elevation_files(wildcards):
    return list(SITES[wildcards.site].dem.files)


def remote_elevation(wildcards):
    """Write what is fetched from servers as words of a command."""
    dem = SITES[wildcards.site].dem
    return " ".join(shlex.quote(name) for name in dem.sources if name not in dem.files)


def downloads_of_elevation(wildcards):
    return 1 if remote_elevation(wildcards) else 0


rule dem:
    input:
        source=elevation_files,
    output:
        dem="<results>/{site}/dem/dem.tif",
        far_field="<results>/{site}/dem/far_field.tif",
        provenance="<results>/{site}/dem/dem.json",
    log:
        "<logs>/{site}/dem.log",
    benchmark:
        "<benchmarks>/{site}/dem.tsv"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
        downloads=downloads_of_elevation,
    params:
        remote=remote_elevation,
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
