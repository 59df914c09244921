"""Long-term storage: `snakemake archive` packs, moves and verifies finished sites, `snakemake retrieve` brings them back.

A step that is broken off goes on where it was, by the journals in archive/journal; the files that the rules make are
receipts of it.
"""

# Of each so many at once, in this run by Snakemake, and in all runs on a machine by the steps themselves.
for name, limit in {
    "archive_space_checks": CONFIG.archive.space_checks,
    "archive_moves": CONFIG.archive.moves,
    "archive_verifies": CONFIG.archive.verifies,
    "archive_reads": CONFIG.archive.reads,
}.items():
    if name not in workflow.global_resources:
        workflow.register_resource(name, limit)


def receipts_of_sites():
    """List the receipts of all sites, if they can be archived."""
    if IN_STORAGE:
        raise InputError(
            "archive: results are in a bucket; bring them to a disk and call `eemt archive` there"
        )
    if CONFIG.archive.storage is None:
        raise InputError(
            "archive: no storage is named; set archive.storage to a folder, s3://bucket/folder or rclone:remote:folder"
        )
    without = [name for name, site in SITES.items() if not site.outputs.crate]
    if without:
        raise InputError(
            f"archive: {without[0]} has no checksums; set outputs.crate to true"
        )
    return [f"<archive>/{site}/register.json" for site in SITES]


def receipts_of_retrievals():
    """List the receipts of the datasets that are to be brought back."""
    if not CONFIG.archive.retrieve:
        raise InputError(
            "retrieve: no dataset is named; set archive.retrieve to identifiers, which `eemt catalogue list` lists"
        )
    return [f"<archive>/retrievals/{name}.json" for name in CONFIG.archive.retrieve]


def asked_for_archive(wildcards):
    return or_stop(receipts_of_sites)


def asked_for_retrieval(wildcards):
    return or_stop(receipts_of_retrievals)


def archive_settings(wildcards):
    return json.dumps(
        CONFIG.archive.model_dump(mode="json", exclude={"retrieve"}, exclude_none=True)
    )


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
