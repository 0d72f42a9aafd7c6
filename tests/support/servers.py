"""Real servers for the tests, out of the archive of Debian that this machine's own apt reads.

Rules: nothing is installed. The packages with all that they depend on, the C library too, are
unpacked into a folder of the tests' cache, one for each release of Debian, and a server runs in a
mount namespace of its own with that folder as its root. Its configuration is Debian's default but
for what a test needs: a free port on 127.0.0.1, and a refusal of large bodies.
`python -m tests.support.servers` fetches what is missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tools.kernel_archive import KEYRING, TOOLS, NoArchiveError, PrivateApt, archives

PACKAGES = {
    "bookworm": (
        "haproxy",
        "nginx-light",
        "apache2-bin",
        "lighttpd",
        "caddy",
        "nodejs",
        "gunicorn",
        "uvicorn",
    ),
    "trixie": ("haproxy",),
}
ACCOUNTS = {
    "etc/passwd": "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
}
_FETCH_S = 900
_START_S = 60
_IN_ROOT = 'mount --rbind /dev "$1/dev"; mount --rbind /proc "$1/proc"; exec chroot "$@"'

NoServersError = NoArchiveError
"""Servers are not available here; the message has the reason."""


@dataclass(frozen=True)
class ServerSpec:
    """A server as Debian packs it. In its files and its command `{port}`, `{folder}` and
    `{upstream}` (the port of the server behind it) are filled in.
    """

    release: str
    command: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


_HAPROXY = """
global
  maxconn 100
defaults
  mode http
  timeout connect 5000
  timeout client 50000
  timeout server 50000
frontend front
  bind 127.0.0.1:{port}
  http-request deny deny_status 413 if METH_POST
"""
_NGINX = """
daemon off; user nobody nogroup; worker_processes 1;
pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 100; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    %s
  }}
}}
"""
_IN_FRONT = """client_max_body_size 0; location / { proxy_pass http://127.0.0.1:{upstream};
    proxy_http_version 1.1; proxy_request_buffering off; }"""
_APACHE = """
ServerName localhost
PidFile {folder}/pid
ErrorLog {folder}/error.log
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
User nobody
Group nogroup
Listen 127.0.0.1:{port}
DocumentRoot {folder}
KeepAliveTimeout 5
LimitRequestBody 1000000
"""
_LIGHTTPD = """
server.document-root = "{folder}"
server.bind = "127.0.0.1"
server.port = {port}
server.max-request-size = 1000
server.upload-dirs = ( "{folder}" )
"""
_CADDY = """
{{
  admin off
  auto_https off
}}
http://127.0.0.1:{port} {{
  bind 127.0.0.1
  respond 413
}}
"""
_WSGI = """
def app(environ, start_response):
    start_response("413 Content Too Large", [("Content-Length", "3")])
    return [b"no\\n"]
"""
_ASGI = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    headers = [(b"content-length", b"3")]
    await send(dict(type="http.response.start", status=413, headers=headers))
    await send(dict(type="http.response.body", body=b"no\\n"))
"""
_NODE = """
require("http").createServer((request, response) => {{
  response.writeHead(413, {headers});
  response.end("no\\n");
}}).listen({port}, "127.0.0.1");
"""
_PYTHON = {"PYTHONPATH": "{folder}"}


def _gunicorn(worker: str) -> ServerSpec:
    command = ("/usr/bin/gunicorn", "-k", worker, "-b", "127.0.0.1:{port}", "application:app")
    return ServerSpec("bookworm", command, {"application.py": _WSGI}, _PYTHON)


def _haproxy(release: str) -> ServerSpec:
    command = ("/usr/sbin/haproxy", "-db", "-f", "{folder}/haproxy.cfg")
    return ServerSpec(release, command, {"haproxy.cfg": _HAPROXY})


def _nginx(location: str) -> ServerSpec:
    text = _NGINX.replace("%s", location.replace("{", "{{").replace("}", "}}"))
    text = text.replace("{{upstream}}", "{upstream}")
    return ServerSpec(
        "bookworm", ("/usr/sbin/nginx", "-c", "{folder}/nginx.conf"), {"nginx.conf": text}
    )


def _node(headers: str) -> ServerSpec:
    text = _NODE.replace("{headers}", headers)
    return ServerSpec("bookworm", ("/usr/bin/node", "{folder}/server.js"), {"server.js": text})


SERVERS = {
    "HAProxy 2.6": _haproxy("bookworm"),
    "HAProxy 3.0": _haproxy("trixie"),
    "nginx": _nginx("location / { root /usr/share/nginx/html; }"),
    "nginx in front": _nginx(_IN_FRONT),
    "Apache": ServerSpec(
        "bookworm",
        ("/usr/sbin/apache2", "-DFOREGROUND", "-f", "{folder}/apache2.conf"),
        {"apache2.conf": _APACHE},
    ),
    "lighttpd": ServerSpec(
        "bookworm",
        ("/usr/sbin/lighttpd", "-D", "-f", "{folder}/lighttpd.conf"),
        {"lighttpd.conf": _LIGHTTPD},
    ),
    "Caddy": ServerSpec(
        "bookworm",
        ("/usr/bin/caddy", "run", "--adapter", "caddyfile", "--config", "{folder}/Caddyfile"),
        {"Caddyfile": _CADDY},
        {"HOME": "{folder}"},
    ),
    "gunicorn sync": _gunicorn("sync"),
    "gunicorn gthread": _gunicorn("gthread"),
    "uvicorn": ServerSpec(
        "bookworm",
        ("/usr/bin/uvicorn", "--port", "{port}", "application:app"),
        {"application.py": _ASGI},
        _PYTHON,
    ),
    "Node.js": _node("{{}}"),
    "Node.js, Connection: close": _node('{{Connection: "close"}}'),
}


def cache() -> Path:
    """Returns the folder that the unpacked releases and apt's lists are kept in."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fleetaudit-tests" / "servers"


def skip_without(name: str, problem: Exception) -> None:
    """Skips a test by the name of the server that is missing; in CI it fails."""
    if os.environ.get("CI"):
        raise problem
    pytest.skip(f"no {name}: {problem}")


@functools.cache
def root_of(release: str) -> Path:
    """Returns the folder with the servers of a release of Debian, fetching them if the cache lacks
    them, or raises `NoServersError`.
    """
    folder = cache() / release
    folder.mkdir(parents=True, exist_ok=True)
    packages = " ".join(PACKAGES[release])
    with (cache() / f"{release}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes start together
        unpacked = folder / "unpacked"
        if not unpacked.is_file() or unpacked.read_text() != packages:
            try:
                _fetch(folder, release)
            except (OSError, subprocess.SubprocessError) as e:
                raise NoServersError(f"Debian's {release} cannot be unpacked: {e}") from e
            unpacked.write_text(packages)
    return folder / "root"


class _Apt(PrivateApt):
    """apt with one release of Debian as its only source, and nothing installed."""

    def use(self, release: str) -> None:
        for tool in TOOLS:
            if shutil.which(tool) is None:
                raise NoServersError(f"no {tool}: real servers come out of Debian's archive")
        option = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
        for folder in ("lists/partial", "cache/archives/partial"):
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
        line = f"deb {option}{archives()[0]} {release} main\n"
        (self.folder / "sources.list").write_text(line)
        (self.folder / "status").touch()

    def with_dependencies(self, packages: tuple[str, ...]) -> list[str]:
        """Returns the packages and all that they depend on; nothing counts as installed."""
        out = self._run(
            "apt-get", "-o", "APT::Install-Recommends=false", "install", "-s", *packages
        )
        return [line.split()[1] for line in out.splitlines() if line.startswith("Inst ")]


def _fetch(folder: Path, release: str) -> None:
    """Downloads and unpacks the servers of a release."""
    apt = _Apt(folder / "apt", "amd64")
    apt.use(release)
    why = apt.update()
    try:
        packages = apt.with_dependencies(PACKAGES[release])
    except subprocess.CalledProcessError as e:
        raise NoServersError(f"apt has no {', '.join(PACKAGES[release])}: {why}") from e
    root, downloads = folder / "root", folder / "downloads"
    for each in (root, downloads):
        shutil.rmtree(each, ignore_errors=True)
        each.mkdir(parents=True)
    command = ["apt-get", *apt.options(), "download", *packages]
    done = subprocess.run(
        command, cwd=downloads, capture_output=True, timeout=_FETCH_S, check=False
    )
    if done.returncode:
        raise NoServersError(f"apt-get download failed for Debian's {release}")
    for package in sorted(downloads.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(package), str(root)], check=True, timeout=_FETCH_S)
    shutil.rmtree(downloads)
    _complete(root)


def _complete(root: Path) -> None:
    """Adds what other packages or their installation scripts would have made."""
    for name in ("bin", "sbin", "lib", "lib64"):
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    for name in ("dev", "proc", "tmp", "srv", "var/log", "var/tmp", "root"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    for name, text in ACCOUNTS.items():
        (root / name).write_text(text)


def free_port() -> int:
    """Returns a port of 127.0.0.1 that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def running(name: str, *, upstream: int = 0) -> Iterator[int]:
    """Runs a server of `SERVERS`, and gives the port that it listens on; raises `NoServersError` if
    it is not available.
    """
    spec = SERVERS[name]
    root = root_of(spec.release)
    with tempfile.TemporaryDirectory(dir=root / "srv") as folder:
        Path(folder).chmod(0o777)
        inside = f"/{Path(folder).relative_to(root)}"
        port = free_port()
        values = {"port": port, "folder": inside, "upstream": upstream}
        for file, text in spec.files.items():
            (Path(folder) / file).write_text(text.format_map(values))
        command = [word.format_map(values) for word in spec.command]
        own = {key: value.format_map(values) for key, value in spec.environment.items()}
        with _process(root, command, own, Path(folder) / "output"):
            _wait_for(port, name, Path(folder))
            yield port


@contextlib.contextmanager
def _process(
    root: Path, command: list[str], environment: Mapping[str, str], output: Path
) -> Iterator[None]:
    """Runs a program with another root, and ends it with all its processes."""
    alone = ["unshare", *(["-r"] if os.geteuid() else []), "--mount", "--", "sh", "-ec", _IN_ROOT]
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*alone, "sh", str(root), *command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
            env={"PATH": path, **environment},
        )
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(3)


def _wait_for(port: int, name: str, folder: Path) -> None:
    """Waits until a server listens."""
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    logs = [*folder.glob("output"), *folder.glob("*.log")]
    said = "\n".join(path.read_text(errors="replace")[-500:] for path in logs)
    raise AssertionError(f"{name} does not listen on port {port}: {said}")


def main() -> int:
    """Fetches the servers and prints where they are."""
    for release in PACKAGES:
        try:
            print(f"{release:10} {root_of(release)}")
        except NoServersError as e:
            print(f"{release:10} not available: {e}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
