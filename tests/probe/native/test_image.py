"""The native probe as a container image, and docs/probe-daemonset.yml, which runs it on every node.

The image is read by skopeo and umoci and run by crun, a runtime of Kubernetes, with the rights of
the manifest. The "node" is a network namespace with settings of its own. Not tested: a cluster,
AppArmor and SELinux.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import kubernetes_validate
import pytest
import yaml

from fleetaudit.app.probe_program import ProgramRequest, native_image
from fleetaudit.app.reply_files import parse_reply_file
from fleetaudit.probe import protocol
from fleetaudit.probe.native_program import ARCHITECTURES
from fleetaudit.probe.reply import Reply
from tests import ROOT
from tests.support.commands import Workspace, until
from tests.support.native import built

pytestmark = [pytest.mark.slow, pytest.mark.probe]

MANIFEST = ROOT / "docs" / "probe-daemonset.yml"
SECCOMP = Path("/usr/share/containers/seccomp.json")
FILES = {"/etc/os-release": "ID=node\nVERSION_ID=5\n", "/etc/machine-id": f"{'5e' * 16}\n"}
"""The files of the node that the manifest mounts."""
ON_A_NODE = """
mount -t cgroup2 none /sys/fs/cgroup && ip link set lo up &&
echo 7 > /proc/sys/net/ipv4/tcp_fin_timeout && echo 0 > /proc/sys/net/ipv4/tcp_sack &&
exec "$@"
"""
SETTINGS = ("net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_sack")
KUBERNETES = ("1.30.0", "1.33.0", "1.37.0")


def need(*programs: str) -> None:
    """Skips the test without these programs; fails it in CI."""
    missing = [program for program in programs if not shutil.which(program)]
    if missing and os.environ.get("CI"):
        pytest.fail(f"missing on this CI machine: {', '.join(missing)}")
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


def machine() -> str:
    """Returns this machine's architecture; skips the test if the probe is not built for it."""
    built(os.uname().machine)
    return os.uname().machine


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns an image with every architecture."""
    for architecture in ARCHITECTURES:
        built(architecture)
    file = tmp_path_factory.mktemp("archive") / "probe.tar"
    file.write_bytes(native_image(ProgramRequest(), ARCHITECTURES))
    return file


def test_the_archive_keeps_the_rules_of_an_image_layout(archive: Path) -> None:
    """image-layout.md: two files, and blobs whose names are their digests."""
    with tarfile.open(archive) as tar:
        files = {entry.name: _content(tar, entry) for entry in tar.getmembers()}
    assert json.loads(files.pop("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(files.pop("index.json"))
    assert index["schemaVersion"] == 2
    for name, data in files.items():
        assert name == f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"
    referenced = set(_referenced(files, index))
    assert referenced == {name.rpartition("/")[2] for name in files}
    platforms = {
        (platform["architecture"], platform.get("variant", ""))
        for platform in _platforms(files, index)
    }
    others = {(name, "") for name in ("amd64", "arm64", "riscv64", "ppc64le", "s390x")}
    assert platforms == {("arm", "v7"), *others}


def _content(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    """Returns the content of a regular file of nobody's, without a time."""
    assert entry.isreg()
    assert (entry.mtime, entry.uid, entry.gid, entry.uname) == (0, 0, 0, "")
    file = tar.extractfile(entry)
    assert file
    return file.read()


def _referenced(files: Mapping[str, bytes], document: Mapping[str, Any]) -> Iterator[str]:
    """Yields the digests that a document names, and those that these name."""
    own = [*document.get("manifests", ()), *document.get("layers", ())]
    if "config" in document:
        own.append(document["config"])
    for descriptor in own:
        digest = descriptor["digest"].removeprefix("sha256:")
        data = files[f"blobs/sha256/{digest}"]
        assert descriptor["size"] == len(data)
        yield digest
        if descriptor["mediaType"].endswith(("manifest.v1+json", "index.v1+json")):
            inner = json.loads(data)
            assert inner["mediaType"] == descriptor["mediaType"]
            yield from _referenced(files, inner)


def _platforms(files: Mapping[str, bytes], index: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yields the platforms of an image, and holds each configuration against its layer."""
    (image,) = index["manifests"]
    inner = json.loads(files["blobs/sha256/" + image["digest"].removeprefix("sha256:")])
    for descriptor in inner["manifests"]:
        manifest = json.loads(files["blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")])
        config = json.loads(
            files["blobs/sha256/" + manifest["config"]["digest"].removeprefix("sha256:")]
        )
        (layer,) = manifest["layers"]
        assert config["rootfs"] == {"type": "layers", "diff_ids": [layer["digest"]]}
        assert {key: config.get(key) for key in descriptor["platform"]} == descriptor["platform"]
        yield descriptor["platform"]


def test_skopeo_copies_every_platform_and_finds_one_file_in_its_layer(
    archive: Path, tmp_path: Path
) -> None:
    need("skopeo")
    done("skopeo", "copy", "-q", "--multi-arch", "all", f"oci-archive:{archive}", f"dir:{tmp_path}")
    assert len(list(tmp_path.glob("*.manifest.json"))) == len(ARCHITECTURES)
    for words in (("arm", "v7"), ("s390x", "")):
        options = ("--override-arch", words[0], "--override-variant", words[1])
        shown = done("skopeo", *options, "inspect", f"oci-archive:{archive}")
        (layer,) = json.loads(shown)["Layers"]
        with tarfile.open(tmp_path / layer.removeprefix("sha256:")) as tar:
            (entry,) = tar.getmembers()
        assert (entry.name, entry.mode) == ("fleetaudit-probe", 0o755)


def done(*command: str | Path) -> str:
    """Returns what a command prints that must succeed."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


class Node(NamedTuple):
    """A machine with the image unpacked: `bundle` is what a runtime starts."""

    bundle: Path

    def start(self, pod: Mapping[str, Any], name: str) -> subprocess.Popen[bytes]:
        """Starts the container of a pod as a runtime of Kubernetes does."""
        config = _runtime_config(pod, self.bundle.parent / "files")
        (self.bundle / "config.json").write_text(json.dumps(config))
        crun = ("crun", "--cgroup-manager=disabled", f"--root={self.bundle.parent / 'state'}")
        return subprocess.Popen(
            ["unshare", "-mn", "sh", "-c", ON_A_NODE, "-", *crun, "run", "-b", self.bundle, name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def reply(self, pod: Mapping[str, Any], name: str) -> Reply:
        """Returns the reply of a container that ends by itself."""
        out, err = self.start(pod, name).communicate(timeout=120)
        assert b"fleetaudit-probe/1 " in out, err
        return protocol.parse_reply(out)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    need("skopeo", "umoci", "crun", "unshare", "ip")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folder = tmp_path_factory.mktemp("node")
    archive = folder / "probe.tar"
    archive.write_bytes(native_image(ProgramRequest(), [machine()]))
    done("skopeo", "copy", "-q", f"oci-archive:{archive}", f"oci:{folder / 'layout'}:latest")
    done("umoci", "unpack", "--image", f"{folder / 'layout'}:latest", folder / "bundle")
    for path, text in FILES.items():
        file = folder / "files" / path[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return Node(folder / "bundle")


def the_pod() -> dict[str, Any]:
    """Returns the pod of the manifest, whose program ends after its reply."""
    _, daemon_set = yaml.safe_load_all(MANIFEST.read_text())
    pod: dict[str, Any] = daemon_set["spec"]["template"]["spec"]
    pod["containers"][0]["args"] = []
    return pod


def _runtime_config(pod: Mapping[str, Any], files: Path) -> dict[str, Any]:
    """Returns the configuration that a kubelet and its runtime make of a pod."""
    (container,) = pod["containers"]
    context = container["securityContext"]
    assert pod["hostNetwork"]
    assert context["capabilities"]["drop"] == ["ALL"]
    capabilities = [f"CAP_{name}" for name in context["capabilities"]["add"]]
    paths = {volume["name"]: volume["hostPath"]["path"] for volume in pod["volumes"]}
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro", "nosuid"]},
    ]
    for mount in container["volumeMounts"]:
        source = str(files) + paths[mount["name"]]
        options = ["rbind", "ro"]
        mounts.append(
            {
                "destination": mount["mountPath"],
                "type": "bind",
                "source": source,
                "options": options,
            }
        )
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": context["runAsUser"], "gid": 0},
            "args": ["/fleetaudit-probe", *container["args"]],
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
        },
        "root": {"path": "rootfs", "readonly": context["readOnlyRootFilesystem"]},
        "mounts": mounts,
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "mount")],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"],
            "seccomp": _seccomp(capabilities),
        },
    }


def _seccomp(capabilities: Sequence[str]) -> dict[str, Any]:
    """Returns the default filter of system calls of podman for these capabilities."""
    if not SECCOMP.exists():
        pytest.skip(f"needs {SECCOMP} (Debian: golang-github-containers-common)")
    profile = json.loads(SECCOMP.read_text())
    platform = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine(), machine())
    rules = []
    for rule in profile["syscalls"]:
        wanted, unwanted = rule.get("includes") or {}, rule.get("excludes") or {}
        is_for_another = platform not in wanted.get("arches", [platform])
        has_wanted = set(wanted.get("caps", ())) <= set(capabilities)
        has_unwanted = bool(set(unwanted.get("caps", ())) & set(capabilities))
        if has_wanted and not has_unwanted and not is_for_another:
            rules.append({key: rule[key] for key in ("names", "action", "errnoRet") if key in rule})
            rules[-1]["args"] = rule.get("args") or []
    return {"defaultAction": profile["defaultAction"], "syscalls": rules}


def test_a_pod_of_the_manifest_measures_its_node_with_three_capabilities(node: Node) -> None:
    reply = node.reply(the_pod(), "whole")
    assert (reply.isolation, reply.isolation_note, reply.capture_note) == ("namespace", "", "")
    assert reply.notes == ()
    for key, value in zip(SETTINGS, ("7", "0"), strict=True):
        assert reply.sysctls[key].value == value
        assert reply.sysctls[key].used is None  # the experiment has the node's value
        assert reply.sysctls[key].default != value
    assert (reply.os.id, reply.os.version_id) == ("node", "5")
    assert reply.machine_id not in ("", FILES["/etc/machine-id"].strip())
    assert len(reply.observations) > 100
    assert [o for o in reply.observations if o.failed] == []


@pytest.mark.parametrize("capability", ["SYS_ADMIN", "NET_ADMIN", "NET_RAW"])
def test_without_a_capability_the_reply_says_what_is_missing(node: Node, capability: str) -> None:
    """The table of docs/containers.md."""
    pod = the_pod()
    pod["containers"][0]["securityContext"]["capabilities"]["add"].remove(capability)
    reply = node.reply(pod, f"no-{capability}")
    assert len(reply.observations) > 100
    if capability == "NET_RAW":
        assert "CAP_NET_RAW" in reply.capture_note
    else:
        assert reply.isolation == "host"
        assert "no private network namespace" in reply.isolation_note


def test_a_pod_stays_after_its_reply_until_a_signal_ends_it(node: Node) -> None:
    pod = the_pod()
    _, daemon_set = yaml.safe_load_all(MANIFEST.read_text())
    pod["containers"][0]["args"] = daemon_set["spec"]["template"]["spec"]["containers"][0]["args"]
    process = node.start(pod, "stays")
    assert process.stdout
    assert process.stdout.readline() == b"\n"
    assert process.stdout.readline().startswith(b"fleetaudit-probe/1 {")
    time.sleep(2)
    assert process.poll() is None
    began = time.monotonic()
    root = f"--root={node.bundle.parent / 'state'}"
    done("crun", "--cgroup-manager=disabled", root, "kill", "stays", "TERM")
    assert process.wait(30) == 0
    assert time.monotonic() - began < 5
    process.communicate()


def test_a_stay_ends_by_itself_and_its_bounds_are_checked(tmp_path: Path) -> None:
    program = tmp_path / "probe"
    program.write_bytes(built(machine()))
    program.chmod(0o755)
    for words in (["--stay"], ["--stay", "0"], ["--stay", "2592001"], ["--stay", "1x"], ["x"]):
        refused = subprocess.run([program, *words], capture_output=True, timeout=60, check=False)
        assert refused.returncode == 2
        assert b"the only argument is --stay SECONDS, at most 2592000" in refused.stderr
    began = time.monotonic()
    ended = subprocess.run(
        [program, "--stay", "3"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60
    )
    assert ended.returncode == 0  # a request that is not whole must not be a loop of restarts
    assert b"not whole" in ended.stderr
    assert 2.9 < time.monotonic() - began < 10


def test_what_stays_takes_the_probe_with_it(tmp_path: Path) -> None:
    program = tmp_path / "probe"
    program.write_bytes(built(machine()))
    program.chmod(0o755)
    process = subprocess.Popen([program, "--stay", "60"], stdin=subprocess.PIPE)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.kill()
        pytest.skip("needs a kernel with CONFIG_PROC_CHILDREN")
    until(lambda: bool(children.read_text()), "the probe to start")
    (child,) = children.read_text().split()
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    until(lambda: not Path(f"/proc/{child}").exists(), "the probe to end")


def test_the_image_runs_in_a_bare_folder(tmp_path: Path) -> None:
    need("unshare", "chroot")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    image = native_image(ProgramRequest(), [machine()])
    with tarfile.open(fileobj=io.BytesIO(image)) as tar:
        index = json.loads(_content(tar, tar.getmember("index.json")))
        manifest = json.loads(_blob(tar, index["manifests"][0]))
        config = json.loads(_blob(tar, manifest["config"]))
        with tarfile.open(fileobj=io.BytesIO(_blob(tar, manifest["layers"][0]))) as layer:
            layer.extractall(tmp_path, filter="tar")
    command = ("unshare", "--pid", "--fork", "--mount", "chroot", tmp_path)
    ended = subprocess.run(
        [*command, *config["config"]["Entrypoint"]], capture_output=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    reply = protocol.parse_reply(ended.stdout)
    assert len(reply.observations) > 100
    assert {path.name for path in tmp_path.iterdir()} == {"fleetaudit-probe"}


def _blob(tar: tarfile.TarFile, descriptor: Mapping[str, Any]) -> bytes:
    """Returns the blob that a descriptor names."""
    name = "blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")
    return _content(tar, tar.getmember(name))


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_manifest_is_what_kubernetes_accepts(version: str) -> None:
    for document in yaml.safe_load_all(MANIFEST.read_text()):
        kubernetes_validate.validate(document, version, strict=True)
        document["spec"] = {"templates": {}}
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(document, version, strict=True)


def test_the_manifest_fits_itself_and_the_documentation() -> None:
    namespace, daemon_set = yaml.safe_load_all(MANIFEST.read_text())
    spec = daemon_set["spec"]
    assert daemon_set["metadata"]["namespace"] == namespace["metadata"]["name"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    (container,) = spec["template"]["spec"]["containers"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert {volume["name"] for volume in spec["template"]["spec"]["volumes"]} == mounted
    page = (ROOT / "docs" / "containers.md").read_text()
    for name in container["securityContext"]["capabilities"]["add"]:
        assert f"--cap-add {name}" in page
        assert f"| `{name}` |" in page
    assert container["image"].removesuffix(":latest") in page
    assert " ".join(container["args"]) in page


@pytest.mark.parametrize(
    "prefix",
    [
        b"",
        b"[pod/fleetaudit-probe-x7k2p/probe] ",
        b"2026-11-29T07:00:00.123456789Z ",
        b"[pod/fleetaudit-probe-x7k2p/probe] 2026-11-29T07:00:00.1+01:00 ",
    ],
)
def test_merge_reads_the_log_of_a_pod(tmp_path: Path, prefix: bytes) -> None:
    place = Workspace(tmp_path)
    program = place.path / "program"
    made = place.run("probe", "-p", "quick.yml", "--native", machine(), "-o", program)
    assert made.returncode == 0, made.stderr
    printed = subprocess.run([program], capture_output=True, timeout=60, check=True).stdout
    lines = [b"a line of something else\n", *printed.splitlines(keepends=True)]
    (place.path / "node5.reply").write_bytes(b"".join(prefix + line for line in lines))
    merged = place.run("merge", "-p", "quick.yml", "node5.reply", "-o", "out")
    assert merged.returncode == 0, merged.stdout + merged.stderr
    assert "1 audited" in merged.stdout


@pytest.mark.parametrize("prefix", [b"x ", b"[pod/a b] ", b"2026-11-29 ", b"[pod/a]", b"> "])
def test_another_beginning_of_a_line_is_no_reply(prefix: bytes) -> None:
    data = prefix + b"fleetaudit-probe/1 {}\n"
    assert parse_reply_file(data).stdout == data
