"""What the rules of long-term storage share: what is asked for, settings, limits."""

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
