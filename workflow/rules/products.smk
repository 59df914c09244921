"""Products: maps of the whole site, the table of their statistics, the report."""


rule mosaic:
    input:
        collect(
            "<results>/{{site}}/{{stage}}/tiles/{tile}/{{layer}}.tif",
            tile=plan("tiles"),
        ),
    output:
        "<results>/{site}/{stage}/{layer}.tif",
    log:
        "<logs>/{site}/mosaic/{stage}_{layer}.log",
    benchmark:
        "<benchmarks>/{site}/mosaic/{stage}_{layer}.tsv"
    wildcard_constraints:
        stage="terrain|sun",
        layer="[a-z_]+",
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        algorithm=ALGORITHMS["mosaic"],
    message:
        "{wildcards.site}: map of {wildcards.layer}"
    shell:
        "eemt mosaic {input:q} --out {output:q} > {log:q} 2>&1"


rule map:
    input:
        collect("<results>/{{site}}/eemt/{tile}.nc", tile=plan("tiles")),
    output:
        "<results>/{site}/maps/{variable}_{method}_{year}.tif",
    log:
        "<logs>/{site}/map/{variable}_{method}_{year}.log",
    benchmark:
        "<benchmarks>/{site}/map/{variable}_{method}_{year}.tsv"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        algorithm=ALGORITHMS["mosaic"],
    message:
        "{wildcards.site}: map of {wildcards.variable}, {wildcards.method}, {wildcards.year}"
    shell:
        "eemt mosaic {input:q} --variable {wildcards.variable} --method {wildcards.method} --year {wildcards.year}"
        " --out {output:q} > {log:q} 2>&1"


rule summary:
    input:
        maps_of_site,
    output:
        csv="<results>/{site}/summary.csv",
        parquet="<results>/{site}/summary.parquet",
    log:
        "<logs>/{site}/summary.log",
    benchmark:
        "<benchmarks>/{site}/summary.tsv"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        algorithm=ALGORITHMS["summary"],
    message:
        "{wildcards.site}: table of all maps"
    shell:
        "eemt summary {input:q} --site {wildcards.site} --csv {output.csv:q} --parquet {output.parquet:q}"
        " > {log:q} 2>&1"


rule report:
    input:
        maps_of_site,
        "<results>/{site}/summary.csv",
        "<results>/{site}/dem/dem.tif",
        "<results>/{site}/dem/dem.json",
        "<results>/{site}/climate/climate.nc",
        climate_records,
        collect("<results>/{{site}}/wetness/{layer}.tif", layer=["area", "twi", "mcwi"]),
        collect(
            "<results>/{{site}}/terrain/{layer}.tif",
            layer=["slope", "aspect", "northness"],
        ),
        collect(
            "<results>/{{site}}/sun/monthly_{layer}.tif",
            layer=["global", "flat_global", "insolation"],
        ),
    output:
        "<results>/{site}/report.html",
    log:
        "<logs>/{site}/report.log",
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        results=subpath(output[0], parent=True),
        benchmarks="logs/benchmarks/{site}",
        settings=settings_as_json,
        algorithm=ALGORITHMS["report"],
    message:
        "{wildcards.site}: report"
    shell:
        "eemt report {params.results:q} --site {wildcards.site} --settings {params.settings:q}"
        " --benchmarks {params.benchmarks:q} --out {output:q} > {log:q} 2>&1"
