"""Climate: monthly values from their source, on its own grid."""


rule climate:
    input:
        table=climate_file,
    output:
        "<results>/{site}/climate/climate.nc",
    log:
        "<logs>/{site}/climate.log",
    benchmark:
        "<benchmarks>/{site}/climate.tsv"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        options=options("climate", leave_out=LAPSE),
        algorithm=ALGORITHMS["climate"],
    message:
        "{wildcards.site}: monthly climate"
    shell:
        "eemt climate {params.options} --out {output:q} > {log:q} 2>&1"
