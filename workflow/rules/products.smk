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


for site, number, maps in groups_of_maps():

    rule:
        name:
            f"maps_{site}{number}"
        input:
            collect("<results>/{{site}}/eemt{{case}}/{tile}.nc", tile=plan("tiles")),
        output:
            [f"<results>/{{site}}{{case}}/maps/{map}.tif" for map in maps],
            [f"<results>/{{site}}{{case}}/maps/{map}.qml" for map in maps],
        log:
            f"<logs>/{{site}}/maps{{case}}{number}.log",
        benchmark:
            f"<benchmarks>/{{site}}/maps{{case}}{number}.tsv"
        wildcard_constraints:
            site=site,
        threads: 1
        resources:
            mem_mb=growing(2000),
            runtime=growing(20),
        params:
            out=subpath(output[0], parent=True),
            maps=" ".join(maps),
            algorithm=ALGORITHMS["mosaic"],
        message:
            f"{{wildcards.site}}{{wildcards.case}}: {len(maps)} maps"
        shell:
            "eemt maps {input:q} --maps {params.maps} --out {params.out:q} > {log:q} 2>&1"


rule summary:
    input:
        maps_of_case,
    output:
        csv=report(
            "<results>/{site}{case}/summary.csv",
            caption="../report/table.rst",
            category="{site}",
            labels={"result": "table{case}"},
        ),
        parquet="<results>/{site}{case}/summary.parquet",
    log:
        "<logs>/{site}/summary{case}.log",
    benchmark:
        "<benchmarks>/{site}/summary{case}.tsv"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        case=case_option,
        algorithm=ALGORITHMS["summary"],
    message:
        "{wildcards.site}{wildcards.case}: table of all maps"
    shell:
        "eemt summary {input:q} --site {wildcards.site} {params.case} --csv {output.csv:q} --parquet {output.parquet:q}"
        " > {log:q} 2>&1"


rule zones:
    input:
        maps=maps_of_case,
        zones=own_zones,
    output:
        csv=report(
            "<results>/{site}{case}/zones.csv",
            caption="../report/zones.rst",
            category="{site}",
            labels={"result": "zones{case}"},
        ),
        parquet="<results>/{site}{case}/zones.parquet",
        gpkg="<results>/{site}{case}/zones.gpkg",
    log:
        "<logs>/{site}/zones{case}.log",
    benchmark:
        "<benchmarks>/{site}/zones{case}.tsv"
    localrule: APART
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        case=case_option,
        options=options("zones", leave_out=["file"]),
        algorithm=ALGORITHMS["zones"],
    message:
        "{wildcards.site}{wildcards.case}: table of zones"
    shell:
        "eemt zones {input.maps:q} --zones {input.zones:q} {params.options} --site {wildcards.site} {params.case}"
        " --csv {output.csv:q} --parquet {output.parquet:q} --gpkg {output.gpkg:q} > {log:q} 2>&1"


rule sweep:
    input:
        of_all_cases("results/{site}{case}/summary.csv"),
        compared_maps,
        "<results>/{site}/dem/dem.tif",
    output:
        csv=report(
            "<results>/{site}/sweep.csv",
            caption="../report/sweep_table.rst",
            category="{site}",
            labels={"result": "table of the sweep"},
        ),
        parquet="<results>/{site}/sweep.parquet",
        page=report(
            "<results>/{site}/sweep.html",
            caption="../report/sweep.rst",
            category="{site}",
            labels={"result": "sweep"},
        ),
    log:
        "<logs>/{site}/sweep.log",
    benchmark:
        "<benchmarks>/{site}/sweep.tsv"
    localrule: APART
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        results=subpath(output.page, parent=True),
        settings=settings_as_json,
        beside=beside_pages,
        algorithm=ALGORITHMS["sweep"],
    message:
        "{wildcards.site}: its cases compared"
    shell:
        "eemt compare {params.results:q} --site {wildcards.site} --settings {params.settings:q}"
        " --csv {output.csv:q} --parquet {output.parquet:q} --out {output.page:q} --beside {params.beside}"
        " > {log:q} 2>&1"


rule report:
    input:
        maps_of_case,
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
        page=report(
            "<results>/{site}/report.html",
            caption="../report/page.rst",
            category="{site}",
            labels={"result": "report"},
        ),
        picture=report(
            "<results>/{site}/overview.png",
            caption="../report/overview.rst",
            category="{site}",
            labels={"result": "maps"},
        ),
    log:
        "<logs>/{site}/report.log",
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        results=subpath(output.page, parent=True),
        benchmarks="logs/benchmarks/{site}",
        settings=own_settings_as_json,
        beside=beside_pages,
        algorithm=ALGORITHMS["report"],
    message:
        "{wildcards.site}: report"
    shell:
        "eemt report {params.results:q} --site {wildcards.site} --settings {params.settings:q}"
        " --benchmarks {params.benchmarks:q} --out {output.page:q} --picture {output.picture:q}"
        " --beside {params.beside} > {log:q} 2>&1"


rule stack:
    input:
        maps_of_case,
    output:
        "<results>/{site}/stack.{form}",
    log:
        "<logs>/{site}/stack_{form}.log",
    benchmark:
        "<benchmarks>/{site}/stack_{form}.tsv"
    wildcard_constraints:
        form=r"nc|zarr\.zip",
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        results=subpath(output[0], parent=True),
        settings=own_settings_as_json,
        algorithm=ALGORITHMS["stack"],
    message:
        "{wildcards.site}: all maps in one file"
    shell:
        "eemt stack {params.results:q} --site {wildcards.site} --settings {params.settings:q} --out {output:q}"
        " > {log:q} 2>&1"


for site, settings in SITES.items():

    rule:
        name:
            f"catalogue_{site}"
        input:
            with_styles,
            ground_of_site,
            climate_records,
            of_all_cases("results/{site}{case}/summary.csv"),
        output:
            catalogue="<results>/{site}/catalog.json",
            of_maps=[f"<results>/{{site}}/{name}" for name in items_of(site)],
        log:
            "<logs>/{site}/catalogue.log",
        benchmark:
            "<benchmarks>/{site}/catalogue.tsv"
        wildcard_constraints:
            site=site,
        # the table of a sweep is the user's own file
        localrule: APART and settings.sweep.table is not None
        threads: 1
        resources:
            mem_mb=growing(2000),
            runtime=growing(20),
        params:
            results=subpath(output.catalogue, parent=True),
            settings=settings_as_json,
            algorithm=ALGORITHMS["catalogue"],
        message:
            "{wildcards.site}: STAC catalogue"
        shell:
            "eemt stac {params.results:q} --site {wildcards.site} --settings {params.settings:q}"
            " --out {output.catalogue:q} > {log:q} 2>&1"


rule crate:
    input:
        described_of_site,
        ground_of_site,
        climate_records,
    output:
        "<results>/{site}/ro-crate-metadata.json",
    log:
        "<logs>/{site}/crate.log",
    benchmark:
        "<benchmarks>/{site}/crate.tsv"
    localrule: APART
    threads: 2
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        results=subpath(output[0], parent=True),
        settings=settings_as_json,
        algorithm=ALGORITHMS["crate"],
    message:
        "{wildcards.site}: RO-Crate"
    shell:
        "eemt crate {params.results:q} --site {wildcards.site} --settings {params.settings:q} --threads {threads}"
        " --out {output:q} > {log:q} 2>&1"
