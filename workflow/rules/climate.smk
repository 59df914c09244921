"""Climate: monthly values from their source, on its own grid."""


rule climate:
    input:
        own("climate_files"),
    output:
        "<results>/{site}/climate/climate.nc",
    log:
        "<logs>/{site}/climate.log",
    benchmark:
        "<benchmarks>/{site}/climate.tsv"
    wildcard_constraints:
        site=sites_with("climate", "source", "station"),
    localrule: APART
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        options=options("climate", leave_out=LAPSE),
        algorithm=ALGORITHMS["climate"],
    message:
        "{wildcards.site}: monthly climate of stations"
    shell:
        "eemt climate {params.options} --out {output:q} > {log:q} 2>&1"


rule climate_of_grid:
    input:
        files=own("climate_files"),
        dem="<results>/{site}/dem/dem.tif",
    output:
        "<results>/{site}/climate/climate.nc",
    log:
        "<logs>/{site}/climate.log",
    benchmark:
        "<benchmarks>/{site}/climate.tsv"
    wildcard_constraints:
        site=sites_with("climate", "source", "grid"),
    localrule: APART
    threads: 1
    resources:
        mem_mb=growing(1500, 20, of="million_cells"),
        runtime=growing(30),
    params:
        area=plan("area"),
        options=options("climate", leave_out=LAPSE),
        algorithm=ALGORITHMS["climate"],
    message:
        "{wildcards.site}: monthly climate of a grid"
    shell:
        "eemt climate {params.options} --dem {input.dem:q} --area {params.area} --out {output:q} > {log:q} 2>&1"


rule climate_year:
    input:
        files=own("climate_files"),
        dem="<results>/{site}/dem/dem.tif",
    output:
        climate="<results>/{site}/climate/years/{year}.nc",
        provenance="<results>/{site}/climate/years/{year}.json",
    log:
        "<logs>/{site}/climate/{year}.log",
    benchmark:
        "<benchmarks>/{site}/climate/{year}.tsv"
    wildcard_constraints:
        site=sites_with("climate", "source", "daymet"),
    retries: 2
    localrule: APART
    threads: 1
    resources:
        mem_mb=growing(1500, 20, of="million_cells"),
        runtime=growing(60),
        downloads=1,
    params:
        area=plan("area"),
        options=options("climate", leave_out=[*LAPSE, "years", *ACCESS_KEYS]),
        access=access,
        algorithm=ALGORITHMS["climate"],
    message:
        "{wildcards.site}: climate of {wildcards.year}"
    shell:
        "eemt climate {params.options} {params.access} --years {wildcards.year} --dem {input.dem:q} --area {params.area}"
        " --out {output.climate:q} > {log:q} 2>&1"


rule climate_of_years:
    input:
        climate=collect(
            "<results>/{{site}}/climate/years/{year}.nc", year=plan("years")
        ),
        provenance=collect(
            "<results>/{{site}}/climate/years/{year}.json", year=plan("years")
        ),
    output:
        climate="<results>/{site}/climate/climate.nc",
        provenance="<results>/{site}/climate/climate.json",
    log:
        "<logs>/{site}/climate.log",
    benchmark:
        "<benchmarks>/{site}/climate.tsv"
    wildcard_constraints:
        site=sites_with("climate", "source", "daymet"),
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        options=options("climate", only=["source", "years"]),
        algorithm=ALGORITHMS["climate"],
    message:
        "{wildcards.site}: climate of all years"
    shell:
        "eemt climate {params.options} --join {input.climate:q} --out {output.climate:q} > {log:q} 2>&1"
