"""Executor ``eemt-slurm``: Snakemake's own for SLURM, for runs in which a job is cancelled.

It is snakemake-executor-plugin-slurm 2 but for one point. Of a cancelled job SLURM's accounting says
``CANCELLED by 1000``; releases 2.5 to 2.8 look for ``CANCELLED`` alone, take the job for running, and wait
for ever. Here a state is its first word, so that such a job counts as failed and is tried again. All
settings are there, as ``--eemt-slurm-…``.

Without that package it stays in the background and says, when it is called, what to install.
"""

from __future__ import annotations

from typing import Any

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings

try:
    import snakemake_executor_plugin_slurm as slurm
    from snakemake_executor_plugin_slurm import ExecutorSettings as ExecutorSettings
    from snakemake_executor_plugin_slurm import common_settings as common_settings
    from snakemake_executor_plugin_slurm.job_status_query import query_job_status
except ModuleNotFoundError as error:
    if error.name not in {"snakemake_executor_plugin_slurm", "snakemake_executor_plugin_slurm_jobstep"}:
        raise

    common_settings = CommonSettings(
        non_local_exec=True,
        implies_no_shared_fs=False,
        job_deploy_sources=False,
        pass_default_storage_provider_args=True,
        pass_default_resources_args=True,
        pass_envvar_declarations_to_cmd=False,
        auto_deploy_default_storage_provider=False,
    )

    class Executor(RemoteExecutor):
        """Stands where the executor would, since Snakemake imports every plugin at each start."""

        def __post_init__(self) -> None:
            raise WorkflowError(
                "The executor eemt-slurm needs snakemake-executor-plugin-slurm: pip install 'eemt[slurm]'"
            )

        def run_job(self, job: object) -> None:
            """Do nothing; no run comes here."""

        async def check_active_jobs(self, active_jobs: object) -> None:
            """Do nothing; no run comes here."""

        def cancel_jobs(self, active_jobs: object) -> None:
            """Do nothing; no run comes here."""

else:

    class Executor(slurm.Executor):  # type: ignore[no-redef]
        """The executor of SLURM, with states read by their first word."""

        def __post_init__(self, test_mode: bool = False) -> None:
            # the function is no method: it is replaced where the executor looks it up
            slurm.query_job_status = plain_states
            super().__post_init__(test_mode)

    async def plain_states(command: str, logger: Any) -> tuple[dict[str, str] | None, float | None]:
        """Ask for the states of jobs and return them by number, with the seconds that it took."""
        states, seconds = await query_job_status(command, logger)
        if states is None:
            return None, None
        return {number: state.split()[0] for number, state in states.items() if state}, seconds


__all__ = ["Executor", "common_settings"]
