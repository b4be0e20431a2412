"""Repositories and results outside of the claim: git over HTTPS and SSH, and a DVC remote on S3."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.conftest import build
from tests.kubernetes import servers
from tests.kubernetes.cluster import Cluster
from tests.paths import ROOT
from tests.pipelines.driven import Driven

pytestmark = pytest.mark.slow
LOGIN = "robot:hunter2"


@pytest.fixture
def secret(cluster: Cluster) -> Iterator[str]:
    """The name of a Secret that a test may create."""
    yield "convoy-test"
    cluster.delete_secret("convoy-test")


@pytest.fixture
def project(driven: Driven, tmp_path: Path) -> Path:
    """A bare clone of a repository with one stage, which pods see by way of a server alone."""
    command = "python work.py first.json"
    stage = f"  first:\n    cmd: {command}\n    deps: [work.py]\n    outs: [out/first.json]\n"
    driven.repository.write("dvc.yaml", f"stages:\n{stage}")
    driven.repository.commit()
    return servers.bare(driven.repository.root, tmp_path)


def recorded(driven: Driven, project: Path, **variables: str) -> bool:
    """Record the run, which pushes to the repository; say whether it arrived there."""
    result, output = driven("first", CONVOY_ACTION="record", **variables)
    assert result["outcome"] == "recorded", output
    words = ["git", "for-each-ref", "--format=%(refname)", "refs/exps"]
    done = subprocess.run(words, cwd=project, capture_output=True, text=True, check=True)
    return done.stdout.strip().endswith("/run-1")


def test_a_repository_over_https_with_a_login(
    driven: Driven, cluster: Cluster, secret: str, project: Path
) -> None:
    address = f"https://{LOGIN}@{servers.GIT_HOST}/{project.name}"
    with servers.git_over_https(cluster.host, project.parent, LOGIN) as certificate:
        trusted = driven.repository.root.parent / "git.crt"
        shutil.copy(certificate, trusted)
        variables = {"CONVOY_REPOSITORY": "", "GIT_SSL_CAINFO": str(trusted)}
        cluster.create_secret(secret, CONVOY_REPOSITORY=address)
        driven.config |= {"secrets": secret, "repository": ""}
        result, output = driven("first", **variables)
        assert result["outcome"] == "ran", output
        assert "hunter2" not in output
        assert recorded(driven, project, **variables)

        cluster.create_secret(secret, CONVOY_REPOSITORY=address.replace("hunter2", "hunter3"))
        result, output = driven("first", **variables)
        assert result["outcome"] == "refused", "a retry meets the same answer"
        assert "Authentication failed" in result["reason"]
        assert "hunter3" not in output + result["reason"]


def test_a_repository_on_the_claim_that_another_user_owns(
    driven: Driven, cluster: Cluster, project: Path
) -> None:
    folder = cluster.folder()
    folder.chmod(0o755)
    owned_by_root = servers.bare(project, folder)
    assert owned_by_root.stat().st_uid != 1000
    result, output = driven("first", CONVOY_REPOSITORY=str(owned_by_root))
    assert result["outcome"] == "ran", output


def test_a_repository_over_ssh_with_a_key(
    driven: Driven, cluster: Cluster, secret: str, project: Path, tmp_path: Path
) -> None:
    repository = f"ssh://root@{servers.GIT_HOST}{project}"
    with servers.git_over_ssh(cluster.host, tmp_path) as (key, known_hosts):
        cluster.create_secret(secret, **{"ssh-privatekey": key, "known_hosts": known_hosts})
        driven.config |= {"ssh_secret": secret, "repository": repository}
        result, output = driven("first", CONVOY_REPOSITORY=repository)
        assert result["outcome"] == "ran", output
        assert recorded(driven, project, CONVOY_REPOSITORY=repository)

        # A server that is not the one of known_hosts.
        known_hosts.write_text(f"{servers.GIT_HOST} {(tmp_path / 'key.pub').read_text()}", encoding="utf-8")
        cluster.create_secret(secret, **{"ssh-privatekey": key, "known_hosts": known_hosts})
        result, _ = driven("first", CONVOY_REPOSITORY=repository)
        assert result["outcome"] == "refused"
        assert "Host key verification failed" in result["reason"]


def test_a_remote_on_s3_takes_the_claims_place(
    driven: Driven, cluster: Cluster, secret: str, tmp_path: Path
) -> None:
    image = build("data", ROOT, f"{cluster.registry}/convoy/data-s3:test", "--build-arg", "PLUGINS=dvc-s3")
    repository = driven.repository
    with servers.s3(cluster.host, tmp_path) as endpoint:
        for words in (["add", "store", "s3://convoy/results"], ["modify", "store", "endpointurl", endpoint]):
            subprocess.run(["dvc", "remote", *words], cwd=repository.root, check=True)
        repository.commit()
        project = servers.bare(repository.root, tmp_path)
        address = f"https://{LOGIN}@{servers.GIT_HOST}/{project.name}"
        keys = {"AWS_ACCESS_KEY_ID": "robot", "AWS_SECRET_ACCESS_KEY": "hunter2"}
        cluster.create_secret(secret, CONVOY_REPOSITORY=address, **keys)
        driven.config |= {"claim": "", "cache": "", "state": "", "secrets": secret, "images": image}
        absent = ("REPOSITORY", "CACHE", "STATE", "WORK")
        variables = {f"CONVOY_{name}": "" for name in absent} | {"CONVOY_REMOTE": "store"}
        # Without the claim, a pod does not see the certificate of this test.
        variables["GIT_SSL_NO_VERIFY"] = "1"
        with servers.git_over_https(cluster.host, tmp_path, LOGIN):
            first, output = driven("first", **variables)
            assert first["outcome"] == "ran", output
            again, output = driven("first", **variables)
            assert again["outcome"] == "restored", output
            after, output = driven("train@a", **variables)
            assert (after["outcome"], after["reason"]) == ("ran", ""), "the first stage came from the remote"
