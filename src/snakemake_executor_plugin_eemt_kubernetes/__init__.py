"""Executor ``eemt-kubernetes``: Snakemake's own for Kubernetes, for runs that outlive what fails in a cluster.

It is snakemake-executor-plugin-kubernetes 0.5 but for these points; without that package it stays in the background
and says, when it is called, what to install.

- A failed pod costs a retry, not the run: 0.5.1 asks for the log of a container that ran before this one, the server
  answers 400 where there was none, and the whole run stops.
- A deleted pod, a deleted job and a server that does not answer for minutes are outlived: 0.5.1 stops at the first,
  and never asks again for the others.
- Pods use the storage plugin of their image, where it is in, and install it alone where it is not.
- Pods pass the Pod Security Standard "restricted", have limits beside requests and no token of the cluster's, end
  when their ``runtime`` is over, and are cleared away an hour after their end if this process is gone.
- A run that is broken off ends all of its jobs: 0.5.1 forgets one whose submission is under way.
- Files may lie on a volume that all pods mount, as `shared-fs-usage` says: 0.5.1 knows of buckets alone. Pods that a
  killed driver left behind on it are ended before new ones begin, so that no file has two writers.
"""

from __future__ import annotations

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings

try:
    from snakemake_executor_plugin_kubernetes import ExecutorSettings as ExecutorSettings

    from .executor import Executor
except ModuleNotFoundError as error:
    if error.name not in {"kubernetes", "snakemake_executor_plugin_kubernetes"}:
        raise

    class Executor(RemoteExecutor):  # type: ignore[misc, no-redef]
        """Stands where the executor would, since Snakemake imports every plugin at each start."""

        def __post_init__(self) -> None:
            raise WorkflowError(
                "The executor eemt-kubernetes needs snakemake-executor-plugin-kubernetes: "
                "pip install 'eemt[kubernetes]'"
            )

        def run_job(self, job: object) -> None:
            """Do nothing; no run comes here."""

        async def check_active_jobs(self, active_jobs: object) -> None:
            """Do nothing; no run comes here."""

        def cancel_jobs(self, active_jobs: object) -> None:
            """Do nothing; no run comes here."""


__all__ = ["Executor", "common_settings"]

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,  # a volume may be shared; profiles say what is
    job_deploy_sources=True,
    pass_default_storage_provider_args=True,
    pass_default_resources_args=True,
    pass_envvar_declarations_to_cmd=False,  # they go into a Secret
    auto_deploy_default_storage_provider=False,  # done in format_job_exec, where it is needed
)
