"""Under which names the server is asked, on which addresses, behind which proxies."""

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from .server import EXPLAIN, LIVE, PHOTOS, running_server, serve_process

if TYPE_CHECKING:
    from landmarks.serving.predictor import Predictor


def codes(url: str, *hosts: str) -> list[int]:
    return [requests.get(url + LIVE, headers={"Host": host}, timeout=30).status_code for host in hosts]


def test_a_web_page_cannot_give_the_server_its_own_name(server_url: str) -> None:
    """DNS rebinding: the browser sends the page's name, though the address is this machine's."""
    _, port = server_url.rsplit(":", 1)
    own = ["localhost", f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", "LOCALHOST"]
    assert codes(server_url, *own) == [200] * len(own)
    others = [
        "attacker.example",
        f"attacker.example:{port}",
        "localhost.attacker.example",
        "127.0.0.1.attacker.example",
    ]
    assert codes(server_url, *others) == [400] * len(others)


def test_the_names_of_a_proxy_are_allowed(answering: "Predictor") -> None:
    with running_server(answering, hosts=["landmarks.example", "*.example.org"]) as url:
        assert codes(url, "landmarks.example", "a.example.org", "example.com") == [200, 200, 400]


@pytest.mark.slow
def test_the_command_line_reaches_the_server(untrained: Path, photos: Path, split: Path, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        ["openssl", "req", "-x509", *made, "-keyout", key, "-out", certificate], check=True, stderr=subprocess.DEVNULL
    )
    options = ["--certificate", certificate, "--private-key", key, "--root-path", "/landmarks", "--allowed-host", "a.example",
               "--no-similar", "--anonymous", photos / "images", "--split", split]  # fmt: skip
    with serve_process(untrained, *options) as (_, url), requests.Session() as session:
        session.verify, session.trust_env = str(certificate), False
        assert url.startswith("https:")
        assert '"/landmarks/openapi.json"' in session.get(f"{url}/docs", timeout=30).text.replace("'", '"')
        assert session.get(url + LIVE, headers={"Host": "a.example"}, timeout=30).status_code == 200
        assert session.get(url + LIVE, headers={"Host": "b.example"}, timeout=30).status_code == 400
        assert '"/landmarks"' in session.get(f"{url}/openapi.json", timeout=30).text
        content = (photos / "images" / "p1_00.jpg").read_bytes()
        assert session.post(url + PHOTOS, files={"photo": content}, timeout=30).ok
        assert session.post(url + EXPLAIN, files={"photo": content}, timeout=30).json()["similar"] == []


@pytest.mark.slow
def test_other_machines_get_no_training_photos_unless_they_should(untrained: Path, photos: Path, split: Path) -> None:
    content = (photos / "images" / "p1_00.jpg").read_bytes()
    options = ["--anonymous", photos / "images", "--split", split, "--host", "0.0.0.0"]  # noqa: S104  # what is tested
    for asked, shown in (([], False), (["--similar"], True)):
        with serve_process(untrained, *options, *asked) as (_, url):
            for _ in range(100):
                similar = requests.post(url + EXPLAIN, files={"photo": content}, timeout=30).json()["similar"]
                if similar or not shown:
                    break
            assert bool(similar) == shown
