"""The service behind proxies with TLS: what a browser gets through the configurations that come with it.

Caddy runs as containers/tls/compose.yaml has it, in an image made of Debian's package (2.6), since not everywhere a
registry is reached; its certificate for localhost is of its own authority. nginx runs with containers/tls/nginx.conf as
it is, in the network of the service's container, which is what one machine is to both; its certificate is made here.
What no test here shows is a certificate fetched from an authority on the internet.
"""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from service.conftest import free_port
from service_systems.asking import API, send, submit
from service_systems.stand_ins import image, stand_in
from service_systems.test_compose import FILE, PASSWORD, Project, own_network
from service_systems.test_compose import image as of_ours
from service_systems.test_postgresql import AREA
from sites import BOULDER, ROOT

TLS = ROOT / "containers/tls"
PIECE = 16_000_000  # bytes, as large as the service takes them
ONLY_CADDY = pytest.mark.parametrize("site", ["caddy"], indirect=True, scope="module")


class Published(httpx.HTTPTransport):
    """Sends what is for a name's ports 80 and 443 to where these are published here."""

    def __init__(self, ports: dict[int, int], verify: ssl.SSLContext) -> None:
        super().__init__(verify=verify)
        self.ports = ports

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        asked = request.url
        request.extensions["sni_hostname"] = asked.host
        request.url = asked.copy_with(host="127.0.0.1", port=self.ports[443 if asked.scheme == "https" else 80])
        try:
            return super().handle_request(request)
        finally:
            request.url = asked


@dataclass
class Site:
    """A name with a proxy before the service."""

    project: Project
    proxy: str
    name: str
    ports: dict[int, int]
    authority: Path

    @property
    def network(self) -> str:
        return self.project.variables.get("EEMT_PROXY_NETWORK", "none")

    def client(self, **options: object) -> httpx.Client:
        """Return what a browser is: it trusts one authority and keeps cookies."""
        transport = Published(self.ports, ssl.create_default_context(cafile=str(self.authority)))
        return httpx.Client(base_url=f"https://{self.name}", transport=transport, timeout=60, **options)  # type: ignore[arg-type]

    def program(self) -> httpx.Client:
        """Return a client with a token of the operator's."""
        token = self.project.inside("web", "eemt", "account", "token", "olga").split()[0]
        return self.client(headers={"Authorization": f"Bearer {token}"})


@pytest.fixture(scope="module", params=["caddy", "nginx"])
def site(
    request: pytest.FixtureRequest, require: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    require("compose")
    require("compose", of_ours("web"))
    require("compose", stand_in(request.param))
    folder = tmp_path_factory.mktemp(request.param)
    site = (behind_caddy if request.param == "caddy" else behind_nginx)(folder)
    try:
        site.project.up()
        if site.proxy == "caddy":
            root = site.project.inside("proxy", "cat", "/data/caddy/pki/authorities/local/root.crt")
            site.authority.write_text(root)
        yield site
    finally:
        site.project.call("down", "--volumes", "--timeout", "20")


def behind_caddy(folder: Path) -> Site:
    ports = {80: free_port(), 443: free_port()}
    variables = {
        "EEMT_NAME": "localhost",
        "EEMT_SERVICE_PUBLIC_URL": "https://localhost",
        "EEMT_HTTP_PORT": str(ports[80]),
        "EEMT_HTTPS_PORT": str(ports[443]),
        "EEMT_PROXY_NETWORK": own_network(),
        "EEMT_CADDY_IMAGE": image("caddy"),
    }
    project = Project(["default"], "web", files=(FILE, TLS / "compose.yaml"), variables=variables)
    return Site(project, "caddy", "localhost", ports, folder / "root.crt")


def behind_nginx(folder: Path) -> Site:
    name, ports = "eemt.example.org", {80: free_port(), 443: free_port()}
    certificates = folder / name
    certificates.mkdir()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
         "-addext", f"subjectAltName=DNS:{name}", "-keyout", "privkey.pem", "-out", "fullchain.pem"],
        cwd=certificates, check=True, capture_output=True,
    )  # fmt: skip
    beside = {
        "services": {
            "web": {
                "ports": [f"127.0.0.1:{here}:{there}" for there, here in ports.items()],
                "environment": {"EEMT_SERVICE_PROXIES": '["127.0.0.1"]'},
            },
            "nginx": {
                "image": image("nginx"),
                "profiles": ["default"],
                "depends_on": ["web"],
                "network_mode": "service:web",
                "volumes": [
                    f"{TLS / 'nginx.conf'}:/etc/nginx/conf.d/eemt.conf:ro",
                    f"{certificates}:/etc/letsencrypt/live/{name}:ro",
                ],
            },
        }
    }
    (folder / "compose.yaml").write_text(yaml.safe_dump(beside))
    variables = {"EEMT_SERVICE_PUBLIC_URL": f"https://{name}"}
    project = Project(["default"], "web", files=(FILE, folder / "compose.yaml"), variables=variables)
    return Site(project, "nginx", name, ports, certificates / "fullchain.pem")


def signed_in(client: httpx.Client, **headers: str) -> httpx.Response:
    answer = client.post(f"{API}/session", json={"name": "olga", "password": PASSWORD}, headers=headers)
    assert answer.is_success, answer.text
    return answer


def test_pages_come_by_https_with_a_certificate_of_the_name(site):
    with site.client() as client:
        answer = client.get("/sign-in")
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/html")
        assert "max-age=" in answer.headers["strict-transport-security"]
    with site.client() as client, pytest.raises(httpx.ConnectError, match=r"certificate|alert"):
        client.get("https://elsewhere.example.org/sign-in")


def test_http_leads_to_https(site):
    with site.client() as client:
        answer = client.get(f"http://{site.name}/jobs?state=failed")
        assert (answer.status_code, answer.headers["location"]) == (308, f"https://{site.name}/jobs?state=failed")


def test_a_browser_signs_in_and_its_cookie_goes_by_https_alone(site):
    with site.client() as client:
        page = client.post("/sign-in", data={"name": "olga", "password": PASSWORD, "next": "/jobs", "csrf": ""})
        assert page.status_code == 303, page.text
        # an address of the site's own, whichever way it is written
        assert page.headers["location"] in ("/jobs", f"https://{site.name}/jobs")
        (cookie,) = page.headers.get_list("set-cookie")
        name, *marks = (part.strip().lower() for part in cookie.split(";"))
        assert name.startswith("__host-")
        assert {"secure", "httponly", "samesite=lax", "path=/"} <= set(marks)
        assert client.get("/jobs").status_code == 200
        me = client.get(f"{API}/me").json()
        assert (me["name"], me["by"]) == ("olga", "cookie")


def test_a_change_by_a_browser_needs_its_token_and_comes_from_the_site_s_own_pages(site):
    with site.client() as client:
        csrf = signed_in(client).json()["csrf"]
        asked = {"name": "notebook"}
        assert client.post(f"{API}/tokens", json=asked).status_code == 403
        elsewhere = {"X-CSRF-Token": csrf, "Origin": "https://elsewhere.example.org"}
        assert client.post(f"{API}/tokens", json=asked, headers=elsewhere).status_code == 403
        own = {"X-CSRF-Token": csrf, "Origin": f"https://{site.name}"}
        assert client.post(f"{API}/tokens", json=asked, headers=own).status_code == 201


def test_events_come_one_by_one_while_the_stream_is_open(site):
    with site.program() as program, site.client() as watcher:
        signed_in(watcher)
        upload = send(program, BOULDER)
        offered = {"Accept": "text/event-stream", "Accept-Encoding": "gzip, zstd"}
        with watcher.stream("GET", f"{API}/events", headers=offered) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            assert "content-encoding" not in stream.headers
            lines = stream.iter_lines()
            # what is read from here on was sent after the stream began, and before it ends
            job = submit(program, "watched", upload, dem={"source": {"upload": upload}, **AREA})
            states: list[str] = []
            kind = ""
            for line in lines:
                if line.startswith("event:"):
                    kind = line.removeprefix("event:").strip()
                elif line.startswith("data:") and kind == "state":
                    told = json.loads(line.removeprefix("data:"))
                    states += [told["state"]] if told.get("job_id", told.get("job")) == job else []
                if "running" in states:
                    break
        program.post(f"{API}/jobs/{job}/cancel")
    assert "running" in states


def test_the_largest_piece_of_an_upload_passes(site):
    with site.program() as program:
        wanted = {"name": "large.tif", "size": 2 * PIECE, "kind": "dem"}
        upload = program.post(f"{API}/uploads", json=wanted).json()
        assert upload["chunk_bytes"] == PIECE
        headers = {"Upload-Offset": "0", "Content-Type": "application/octet-stream"}
        answer = program.patch(f"{API}/uploads/{upload['id']}", content=bytes(PIECE), headers=headers)
        assert (answer.status_code, answer.json()["offset"]) == (200, PIECE), answer.text
        assert program.delete(f"{API}/uploads/{upload['id']}").is_success


def test_metrics_stay_inside(site):
    with site.program() as program:
        assert program.get("/metrics").status_code == 404
        assert program.get("/health/ready").status_code == 200


def test_the_service_knows_who_asks_and_does_not_believe_what_they_say_of_themselves(site):
    with site.client() as client:
        signed_in(client, **{"X-Forwarded-For": "203.0.113.5", "X-Forwarded-Proto": "http"})
        lines = [line for line in client.get(f"{API}/audit").json()["items"] if line["action"] == "login"]
    addresses = {line["address"] for line in lines}
    # those of the proxies are what the service itself sees
    assert addresses and not addresses & {None, "203.0.113.5", "127.0.0.1", f"{site.network}.10"}


@ONLY_CADDY
def test_caddy_compresses_pages(site):
    with site.client() as client:
        answer = client.get("/sign-in", headers={"Accept-Encoding": "gzip"})
        assert answer.headers["content-encoding"] == "gzip"


@ONLY_CADDY
def test_the_container_of_caddy_is_confined_and_healthy(site):
    found = site.project.container("proxy")["HostConfig"]
    assert found["ReadonlyRootfs"] and found["CapDrop"] == ["ALL"] and found["Memory"] > 0
    assert found["CapAdd"] in (["NET_BIND_SERVICE"], ["CAP_NET_BIND_SERVICE"])
    site.project.until_healthy("proxy")
