"""Long-term storage: `snakemake archive` packs, moves and verifies finished sites, `snakemake retrieve` brings them back.

A step that is broken off goes on where it was, by the journals in archive/journal; the files that the rules make are
receipts of it.
"""


rule archive:
    input:
        asked_for_archive,
    message:
        "all sites are archived"


rule retrieve:
    input:
        asked_for_retrieval,
    message:
        "all datasets are brought back"


rule archive_pack:
    input:
        "<results>/{site}/ro-crate-metadata.json",
    output:
        "<archive>/{site}/pack.json",
    log:
        "<logs>/{site}/archive_pack.log",
    benchmark:
        "<benchmarks>/{site}/archive_pack.tsv"
    threads: 2
    resources:
        mem_mb=growing(2000),
        runtime=growing(240),
    params:
        results=subpath(input[0], parent=True),
        work=subpath(output[0], ancestor=2),
        settings=archive_settings,
    message:
        "{wildcards.site}: packed for long-term storage"
    shell:
        "eemt archive {params.results:q} --only pack --work {params.work:q} --settings {params.settings:q}"
        " --receipt {output:q} > {log:q} 2>&1"


rule archive_space:
    input:
        crate="<results>/{site}/ro-crate-metadata.json",
        before="<archive>/{site}/pack.json",
    output:
        "<archive>/{site}/space.json",
    log:
        "<logs>/{site}/archive_space.log",
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(60),
        archive_space_checks=1,
    params:
        results=subpath(input.crate, parent=True),
        work=subpath(output[0], ancestor=2),
        settings=archive_settings,
    message:
        "{wildcards.site}: room in the storage"
    shell:
        "eemt archive {params.results:q} --only space --work {params.work:q} --settings {params.settings:q}"
        " --receipt {output:q} > {log:q} 2>&1"


rule archive_move:
    input:
        crate="<results>/{site}/ro-crate-metadata.json",
        before="<archive>/{site}/space.json",
    output:
        "<archive>/{site}/move.json",
    log:
        "<logs>/{site}/archive_move.log",
    benchmark:
        "<benchmarks>/{site}/archive_move.tsv"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(480),
        archive_moves=1,
    params:
        results=subpath(input.crate, parent=True),
        work=subpath(output[0], ancestor=2),
        settings=archive_settings,
    message:
        "{wildcards.site}: moved to the storage"
    shell:
        "eemt archive {params.results:q} --only move --work {params.work:q} --settings {params.settings:q}"
        " --receipt {output:q} > {log:q} 2>&1"


rule archive_verify:
    input:
        crate="<results>/{site}/ro-crate-metadata.json",
        before="<archive>/{site}/move.json",
    output:
        "<archive>/{site}/verify.json",
    log:
        "<logs>/{site}/archive_verify.log",
    benchmark:
        "<benchmarks>/{site}/archive_verify.tsv"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(480),
        archive_verifies=1,
    params:
        results=subpath(input.crate, parent=True),
        work=subpath(output[0], ancestor=2),
        settings=archive_settings,
    message:
        "{wildcards.site}: verified in the storage"
    shell:
        "eemt archive {params.results:q} --only verify --work {params.work:q} --settings {params.settings:q}"
        " --receipt {output:q} > {log:q} 2>&1"


rule archive_register:
    input:
        crate="<results>/{site}/ro-crate-metadata.json",
        before="<archive>/{site}/verify.json",
    output:
        "<archive>/{site}/register.json",
    log:
        "<logs>/{site}/archive_register.log",
    # the catalogue is a file beside the driver
    localrule: True
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(60),
    params:
        results=subpath(input.crate, parent=True),
        work=subpath(output[0], ancestor=2),
        settings=archive_settings,
    message:
        "{wildcards.site}: archived"
    shell:
        "eemt archive {params.results:q} --only register --work {params.work:q} --settings {params.settings:q}"
        " --receipt {output:q} > {log:q} 2>&1"


rule retrieve_dataset:
    output:
        "<archive>/retrievals/{identifier}.json",
    log:
        "<logs>/retrievals/{identifier}.log",
    benchmark:
        "<benchmarks>/retrievals/{identifier}.tsv"
    wildcard_constraints:
        identifier="[A-Za-z0-9][A-Za-z0-9_-]*",
    localrule: True
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(480),
        archive_reads=1,
    params:
        settings=archive_settings,
    message:
        "{wildcards.identifier}: brought back"
    shell:
        "eemt retrieve {wildcards.identifier} --settings {params.settings:q} --receipt {output:q} > {log:q} 2>&1"
