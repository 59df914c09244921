"""The executor itself; importable where snakemake-executor-plugin-kubernetes is."""

from __future__ import annotations

import hashlib
import shlex
import time
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import kubernetes
import urllib3
from kubernetes.client.rest import ApiException
from snakemake_executor_plugin_kubernetes import Executor as KubernetesExecutor
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.settings import SharedFSUsage

UNANSWERED = 300  # s, for which a request is repeated while the API server does not answer
LONGEST_PAUSE = 20  # s, between two such requests
PATIENCE = timedelta(minutes=2)  # before it is said why a pod does not start
KEPT = 3600  # s, that a finished job is kept in the cluster if nobody removes it
PLUGIN_FOLDER = ".snakemake/pip-deployments"  # where Snakemake in a pod looks for plugins
IN_THE_IMAGE = "/opt/s3"  # where the image has the storage plugin, for pods without the internet
RUN_LABEL = "eemt-run"  # of jobs and pods: the run, on a shared volume its folder
LEFT_BEHIND = 150  # s, in which pods that a killed driver left behind must have ended
LATE = 20  # s, in which pods may still come of a run that is broken off
LAST_LINES = 20  # of a failed job's log, and of its pod's output, that are shown

API_ERRORS = (ApiException, urllib3.exceptions.HTTPError, OSError)


class Jobs(kubernetes.client.BatchV1Api):  # type: ignore[misc]
    """The API of jobs, with a word in what is submitted."""

    def __init__(self, prepare: Callable[[Any], None]) -> None:
        super().__init__()
        self._prepare = prepare

    def create_namespaced_job(self, namespace: str, body: Any, **options: Any) -> Any:
        """Submit a job; one that an unanswered request has submitted before is as good."""
        self._prepare(body)
        try:
            return super().create_namespaced_job(namespace, body, **options)
        except ApiException as error:
            if error.status == 409:
                return None
            raise


class Executor(KubernetesExecutor):  # type: ignore[misc]
    """Runs jobs as pods."""

    def __post_init__(self) -> None:
        self._complaints: set[tuple[str, str]] = set()
        self._folder = self._shared_folder()
        super().__post_init__()
        self.batchapi = Jobs(self._prepare)
        if self._folder is not None:
            self._end_those_left_behind()

    # --- a shared volume ---------------------------------------------------------------------------------------------

    def _shared_folder(self) -> Path | None:
        """Return the run's folder where pods see it, and None where files go through a bucket."""
        if SharedFSUsage.INPUT_OUTPUT not in self.workflow.storage_settings.shared_fs_usage:
            return None
        folder = Path.cwd()
        places = [volume.path for volume in self.workflow.executor_settings.persistent_volumes]
        if not places:
            raise WorkflowError(
                "Kubernetes: pods would not see the files of this run; let them go through a bucket "
                "(shared-fs-usage: none and default-storage-provider, as profiles/kubernetes has them), or name the "
                "volume that they lie on (eemt-kubernetes-persistent-volumes, as profiles/kubernetes-volume has it)"
            )
        if not any(folder.is_relative_to(place) for place in places):
            raise WorkflowError(
                f"Kubernetes: {folder} is on no volume that pods mount, which are at "
                f"{', '.join(map(str, places))}; run there, or name another in eemt-kubernetes-persistent-volumes"
            )
        return folder

    def _label(self) -> str:
        if self._folder is None:
            return str(self.run_namespace)
        return hashlib.sha256(str(self._folder).encode()).hexdigest()[:32]

    def _end_those_left_behind(self) -> None:
        """End the jobs of a driver that was killed: the same ones will be done again, on the same files."""
        until, told = time.monotonic() + LEFT_BEHIND, set[str]()
        while left := self._kubernetes_retry(self._at_work):
            if time.monotonic() > until:
                raise WorkflowError(f"Kubernetes: jobs of an earlier run of this folder do not end: {', '.join(left)}")
            for name in sorted(left - told):
                self.logger.info(f"Job {name} is of an earlier run of this folder; it is ended.")
            told |= left
            self._delete(left)
            time.sleep(1)

    def _at_work(self, with_ending: bool = True) -> set[str]:
        """Return the names of this run's jobs that have not ended, or whose pods have not."""
        chosen = f"{RUN_LABEL}={self._label()}"
        jobs = self.batchapi.list_namespaced_job(self.namespace, label_selector=chosen).items
        pods = self.kubeapi.list_namespaced_pod(self.namespace, label_selector=chosen).items
        left = [(job, job.metadata.name) for job in jobs if not (job.status.succeeded or job.status.failed)]
        left += [
            (pod, pod.metadata.labels["job-name"]) for pod in pods if pod.status.phase not in ("Succeeded", "Failed")
        ]
        return {name for thing, name in left if with_ending or thing.metadata.deletion_timestamp is None}

    def _delete(self, names: set[str]) -> None:
        """Delete jobs with their pods, also with those that came after an earlier deletion."""
        for name in names:
            self._kubernetes_retry(partial(self.safe_delete_job, name))

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """End all jobs of this run, whether Snakemake knows of them or not.

        It does not know of one whose submission was interrupted; and the pod of a job that is deleted as it begins may
        come after, to stay for good.
        """
        left, calm = {info.external_jobid for info in active_jobs}, 0
        until = time.monotonic() + LATE
        while calm < 3 and time.monotonic() < until:
            self._delete(left)
            time.sleep(1)
            left = self._kubernetes_retry(partial(self._at_work, with_ending=False))
            calm = 0 if left else calm + 1

    # --- submission --------------------------------------------------------------------------------------------------

    def run_job(self, job: JobExecutorInterface) -> None:
        """Submit a job."""
        self._runtime = job.resources.get("runtime")
        super().run_job(job)

    def format_job_exec(self, job: JobExecutorInterface) -> str:
        """Return the command of a job's pod: before it the storage plugin, and after a failure the job's own log.

        Snakemake puts that log into the storage, but does not find it there when it shows the logs of failed jobs.
        """
        provider = self.workflow.storage_settings.default_storage_provider
        command = str(super().format_job_exec(job))
        logs = " ".join(shlex.quote(str(log)) for log in job.log)
        if logs:
            command = f"{{ {command} || {{ code=$?; tail -n {LAST_LINES} {logs} 2> /dev/null; exit $code; }}; }}"
        # also without a bucket, since pods are told the options of all storage plugins that the driver has
        plugins = f"export PYTHONPATH={IN_THE_IMAGE}${{PYTHONPATH:+:$PYTHONPATH}};"
        if provider is None:
            return f"{plugins} {command}"
        module = f"snakemake_storage_plugin_{provider.replace('-', '_')}"
        is_there = f'from importlib.util import find_spec; raise SystemExit(find_spec("{module}") is None)'
        return (
            f"{plugins} {{ python -c '{is_there}' || pip install --quiet --disable-pip-version-check"
            f" --target {PLUGIN_FOLDER} snakemake-storage-plugin-{provider}; }} && {command}"
        )

    def _prepare(self, body: Any) -> None:
        """Complete what is submitted: limits, a deadline, and as few rights as there are."""
        body.spec.ttl_seconds_after_finished = KEPT
        pod = body.spec.template.spec
        body.metadata.labels = {**body.metadata.labels, RUN_LABEL: self._label()}
        body.spec.template.metadata = kubernetes.client.V1ObjectMeta(labels={RUN_LABEL: self._label()})
        if self._folder is not None:
            for container in pod.containers:
                container.working_dir = str(self._folder)
        # counted from when a node takes the pod, so that waiting for a free one is no fault
        pod.active_deadline_seconds = int(float(self._runtime) * 60) if self._runtime else None
        pod.automount_service_account_token = False
        for container in pod.containers:
            # without a limit a job that needs more than it asked for takes it from its neighbours;
            # processors are shared out by the requests, and idle ones may be used
            memory = container.resources.requests.get("memory")
            if memory:
                container.resources.limits = {"memory": memory, **(container.resources.limits or {})}
            if not self.privileged:
                container.security_context = kubernetes.client.V1SecurityContext(
                    allow_privilege_escalation=False,
                    capabilities=kubernetes.client.V1Capabilities(drop=["ALL"]),
                    run_as_non_root=True,
                    seccomp_profile=kubernetes.client.V1SeccompProfile(type="RuntimeDefault"),
                )

    # --- watching ----------------------------------------------------------------------------------------------------

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Report the jobs that have ended; yield the others, and those that cannot be asked for now."""
        for info in active_jobs:
            async with self.status_rate_limiter:
                try:
                    ended = self._look_at(info)
                except API_ERRORS as error:
                    if not _passing(error):
                        raise WorkflowError(f"Kubernetes: {_in_short(error)}") from error
                    self.logger.warning(f"No word of job {info.external_jobid} ({_in_short(error)}); asking again.")
                    ended = False
            if not ended:
                yield info

    def _look_at(self, info: SubmittedJobInfo) -> bool:
        """Report a job that has ended, and say whether it has."""
        name = info.external_jobid
        try:
            status = self.batchapi.read_namespaced_job(name, self.namespace).status
        except ApiException as error:
            if error.status != 404:
                raise
            self.report_job_error(info, msg=f"Job {name} is gone: someone deleted it. ")
            return True
        pod = self._pod_of(name)
        exit_code = _exit_code(pod)
        if status.succeeded or exit_code == 0:
            self.report_job_success(info)
        elif status.failed or exit_code is not None:
            log = self._keep_log(name, pod)
            self.report_job_error(info, msg=f"Job {name} failed: {_reason(pod)}. ", aux_logs=[log] if log else [])
        else:
            self._say_why_it_waits(name, pod)
            return False
        if not self.workflow.executor_settings.omit_job_cleanup:
            self._remove(name)
        return True

    def _pod_of(self, name: str) -> Any:
        """Return a job's newest pod that nobody is deleting, or None."""
        found = self.kubeapi.list_namespaced_pod(self.namespace, label_selector=f"job-name={name}").items
        left = [pod for pod in found if pod.metadata.deletion_timestamp is None]
        return max(left, key=lambda pod: pod.metadata.creation_timestamp, default=None)

    def _keep_log(self, name: str, pod: Any) -> str | None:
        """Write a failed pod's output to a file, as far as it can still be had, and return its path."""
        if pod is None:
            return None
        try:
            text = self.kubeapi.read_namespaced_pod_log(pod.metadata.name, self.namespace, container="snakemake")
        except API_ERRORS as error:
            self.logger.warning(f"The output of job {name} is lost ({_in_short(error)}).")
            return None
        path = self.log_path / f"{name}.log"
        path.write_text(text or "", encoding="utf-8")
        lines = [line for line in (text or "").splitlines() if line.strip()]
        self.logger.error("\n".join([f"Job {name} failed; the end of its output:", *lines[-2 * LAST_LINES :]]))
        return str(path)

    def _say_why_it_waits(self, name: str, pod: Any) -> None:
        """Tell once what keeps a pod from starting for minutes, which may be for ever."""
        if pod is None or pod.status.phase != "Pending":
            return
        if datetime.now(UTC) - pod.metadata.creation_timestamp < PATIENCE:
            return
        waiting = [status.state.waiting for status in pod.status.container_statuses or [] if status.state.waiting]
        reasons = [f"{w.reason}: {w.message}" for w in waiting if w.reason != "ContainerCreating"]
        reasons += [c.message for c in pod.status.conditions or [] if c.reason == "Unschedulable"]
        for reason in reasons:
            if (name, reason) not in self._complaints:
                self._complaints.add((name, reason))
                self.logger.warning(f"Job {name} waits: {reason}")

    def _remove(self, name: str) -> None:
        """Remove an ended job; one that stays is cleared away by the cluster."""
        try:
            self.safe_delete_job(name)
        except API_ERRORS as error:
            self.logger.warning(f"Job {name} stays in the cluster for now ({_in_short(error)}).")

    # --- the API server's absence ------------------------------------------------------------------------------------

    def _kubernetes_retry(self, func: Callable[[], Any]) -> Any:
        """Return what a request returns; repeat it while the API server does not answer."""
        until, pause = time.monotonic() + UNANSWERED, 1
        while True:
            try:
                return func()
            except API_ERRORS as error:
                if not _passing(error) or time.monotonic() > until:
                    raise WorkflowError(f"Kubernetes: {_in_short(error)}") from error
                self.logger.warning(f"Kubernetes does not answer ({_in_short(error)}); trying again in {pause} s.")
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def _passing(error: Exception) -> bool:
    """Say whether the same request may be answered later: the server is away, starting or overloaded."""
    return not isinstance(error, ApiException) or not error.status or error.status == 429 or error.status >= 500


def _exit_code(pod: Any) -> int | None:
    """Return how the job's own container ended; others beside it, such as a mesh's, may go on."""
    for status in (pod and pod.status.container_statuses) or []:
        if status.name == "snakemake" and status.state.terminated:
            return int(status.state.terminated.exit_code)
    return None


def _reason(pod: Any) -> str:
    """Say in words why a pod failed: OOMKilled, Evicted, DeadlineExceeded, or its exit code."""
    if pod is None:
        return "its pod is gone"
    if pod.status.reason:
        return f"{pod.status.reason}, {pod.status.message}".rstrip(", ")
    ends = [s.state.terminated for s in pod.status.container_statuses or [] if s.state.terminated]
    return ", ".join(f"{end.reason} with exit code {end.exit_code}" for end in ends) or "its pod failed"


def _in_short(error: Exception) -> str:
    if isinstance(error, ApiException):
        return f"{error.status} {error.reason}"
    return str(error) or type(error).__name__
