"""Sun maps: one tile for a whole year of days."""


rule sun:
    input:
        dem="<results>/{site}/dem/tiles/{tile}.tif",
        far_field="<results>/{site}/dem/far_field.tif",
        albedo=raster("albedo"),
    output:
        daily_global="<results>/{site}/sun/tiles/{tile}/global.tif",
        beam="<results>/{site}/sun/tiles/{tile}/beam.tif",
        diffuse="<results>/{site}/sun/tiles/{tile}/diffuse.tif",
        insolation="<results>/{site}/sun/tiles/{tile}/insolation.tif",
        flat_global="<results>/{site}/sun/tiles/{tile}/flat_global.tif",
        monthly_global="<results>/{site}/sun/tiles/{tile}/monthly_global.tif",
        monthly_flat_global="<results>/{site}/sun/tiles/{tile}/monthly_flat_global.tif",
        monthly_insolation="<results>/{site}/sun/tiles/{tile}/monthly_insolation.tif",
    log:
        "<logs>/{site}/sun/{tile}.log",
    benchmark:
        "<benchmarks>/{site}/sun/{tile}.tsv"
    wildcard_constraints:
        site=sites_with("sun", "daily", True),
    threads: 4
    resources:
        mem_mb=growing(1000, 300),
        runtime=growing(60),
    params:
        out=subpath(output.monthly_global, parent=True),
        halo=plan("halo"),
        options=options_but_rasters("sun"),
        rasters=rasters,
        algorithm=ALGORITHMS["sun"],
    message:
        "{wildcards.site}: a year of sun maps of tile {wildcards.tile}"
    shell:
        "eemt sun {input.dem:q} --halo {params.halo} --far {input.far_field:q} --out {params.out:q}"
        " --threads {threads} {params.options} {params.rasters} > {log:q} 2>&1"


# of sites without the maps of days, and of what a sweep changes
use rule sun as sun_monthly with:
    output:
        monthly_global="<results>/{site}/sun{sun}/tiles/{tile}/monthly_global.tif",
        monthly_flat_global="<results>/{site}/sun{sun}/tiles/{tile}/monthly_flat_global.tif",
        monthly_insolation="<results>/{site}/sun{sun}/tiles/{tile}/monthly_insolation.tif",
    log:
        "<logs>/{site}/sun{sun}/{tile}.log",
    benchmark:
        "<benchmarks>/{site}/sun{sun}/{tile}.tsv"
    wildcard_constraints:
        site="|".join(SITES),
    message:
        "{wildcards.site}{wildcards.sun}: a year of sun maps of tile {wildcards.tile}"


ruleorder: sun > sun_monthly
