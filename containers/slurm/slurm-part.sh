#!/bin/sh
# One part of the cluster, in the foreground:  slurm-part munge|controller|worker
set -eu
wait_for_munge() {
  until munge --no-input > /dev/null 2>&1; do sleep 0.5; done
}
case ${1:-} in
  munge)
    # who holds the socket's volume may ask; who has no part in the cluster has no volume
    umask 077
    mungekey --create --force --keyfile /tmp/munge.key
    exec munged --foreground --key-file /tmp/munge.key --pid-file /tmp/munged.pid --seed-file /tmp/munged.seed \
      --log-file /tmp/munged.log
    ;;
  controller)
    wait_for_munge
    mkdir -p /var/lib/slurm/state
    exec slurmctld -D
    ;;
  worker)
    wait_for_munge
    mkdir -p /tmp/slurmd
    # a node that nobody has named before joins under the name of its container
    exec slurmd -D -Z -N "$(hostname)" \
      --conf "CPUs=${EEMT_WORKER_CPUS:-2} RealMemory=${EEMT_WORKER_MEMORY:-4000} State=UNKNOWN"
    ;;
  *)
    echo "usage: $0 munge|controller|worker" >&2
    exit 2
    ;;
esac
