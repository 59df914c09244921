"""Images of others that the service's Compose files name, made of Debian's packages where no registry is reached.

Each has what the files rely on: the same program started the same way, the same folders, and wget for health checks.
`EEMT_CADDY_IMAGE`, `EEMT_NGINX_IMAGE` or `EEMT_PROMETHEUS_IMAGE` names the real one where it is to be had.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

from executors.beds import answers

BASE = "local/debian:12"
INSTALL = """\
FROM {base}
RUN set -eu; \\
    export DEBIAN_FRONTEND=noninteractive; \\
    apt-get update -qq; \\
    apt-get install -y -qq --no-install-recommends {packages}; \\
    rm -rf /var/lib/apt/lists/*
"""
PARTS = {
    "caddy": (
        "caddy wget libcap2-bin",
        """\
RUN setcap cap_net_bind_service=+ep /usr/bin/caddy && install --directory /config /data
ENV XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
""",
    ),
    "nginx": (
        "nginx-light",
        """\
RUN rm /etc/nginx/sites-enabled/default
CMD ["nginx", "-g", "daemon off;"]
""",
    ),
    "prometheus": (
        "prometheus wget",
        """\
RUN install --directory --owner 65534 --group 65534 /prometheus
USER 65534
ENTRYPOINT ["/usr/bin/prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
""",
    ),
}


def image(name: str) -> str:
    """Return the image's name."""
    return os.environ.get(f"EEMT_{name.upper()}_IMAGE") or f"eemt-test/{name}:debian12"


def stand_in(name: str) -> Callable[[], str | None]:
    """Make a probe that builds the image where it is not there yet."""

    def probe() -> str | None:
        if answers("docker", "image", "inspect", image(name)):
            return None
        if not answers("docker", "image", "inspect", BASE):
            return f"Docker has neither {image(name)} nor {BASE} to make a stand-in of; `tests/beds/docker.sh up`"
        packages, rest = PARTS[name]
        done = subprocess.run(
            ["docker", "build", "--network=host", "--tag", image(name), "-"],
            input=INSTALL.format(base=BASE, packages=packages) + rest,
            # one without plugins, as BuildKit would be one for newer clients
            env={**os.environ, "DOCKER_BUILDKIT": "0"},
            capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        return None if done.returncode == 0 else f"no stand-in for {name}: {(done.stdout + done.stderr)[-500:]}"

    return probe
