"""MLflow's registry: the versions of one model, the alias `champion`, and the decisions taken on test images.

MLflow sets an alias for the client that comes last: two promotions that were both judged against the same
champion would both succeed. So only the holder of a lease (`stages/serving/lease.py`) compares the champion
with the one that the challenger was judged against, and moves the alias; the others judge again.
"""

import contextlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.common.errors import ServingError
from stages.data import image_set
from stages.data.image_set import ImageSet
from stages.models import seen_images
from stages.serving import bundle
from stages.serving.lease import SECONDS, Lease

CHAMPION = "champion"
# Tags of a version: the digest of its bundle and code, and the version that was champion before it.
DIGEST, BEFORE = "digest", "champion_before"
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@dataclass(frozen=True)
class Version:
    """One version of the registered model."""

    number: str
    uri: str
    tags: dict[str, str]


class Registry:
    """The versions of the model `name` at the current tracking server."""

    def __init__(self, name: str, lease: float = SECONDS) -> None:
        """Open the registry.

        Args:
            name: The name of the registered model.
            lease: Seconds that a dead holder of the lease is waited for.
        """
        from mlflow import MlflowClient

        self.name = name
        self.client: MlflowClient = MlflowClient()
        self.lease = Lease(self.client, name, lease)

    def champion(self) -> Version | None:
        """The version that the alias points at; None where there is none."""
        from mlflow.exceptions import MlflowException

        try:
            return self._version(self.client.get_model_version_by_alias(self.name, CHAMPION))
        except MlflowException as error:
            if error.error_code in _MISSING:
                return None
            raise

    def newest(self) -> Version | None:
        """The version that was registered last; None where there is none."""
        return self._newest("")

    def find(self, digest: str) -> Version | None:
        """The newest version with this digest; None where there is none."""
        return self._newest(f" and tags.`{DIGEST}` = '{digest}'")

    def get(self, number: str) -> Version:
        """The version of this number. Raises ServingError when there is none."""
        from mlflow.exceptions import MlflowException

        try:
            return self._version(self.client.get_model_version(self.name, number))
        except MlflowException as error:
            raise ServingError(
                f"models:/{self.name}/{number} is not in the registry: {error.message}"
            ) from None

    def register(
        self,
        model_uri: str,
        run_id: str,
        digest: str,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Version:
        """Create a version of a logged model.

        Args:
            model_uri: Where the model is logged: `models:/ID`.
            run_id: The run that logged it.
            digest: Of its bundle and code; `find` looks for it.
            metrics: What MLflow shows beside the version.
            tags: Likewise.

        Returns:
            The new version.
        """
        from mlflow.exceptions import MlflowException

        with contextlib.suppress(MlflowException):  # it exists, except at the first version
            self.client.create_registered_model(self.name)
        model_id = model_uri.removeprefix("models:/")
        for key, value in (metrics or {}).items():
            self.client.log_metric(run_id, key, float(value), model_id=model_id)
        return self._version(
            self.client.create_model_version(
                self.name, model_uri, run_id, tags={**(tags or {}), DIGEST: digest}, model_id=model_id
            )
        )

    def describe(self, version: Version, text: str) -> None:
        """Give a version its description, in Markdown."""
        self.client.update_model_version(self.name, version.number, text)

    def tag(self, version: Version, **tags: str) -> None:
        """Put tags on a version."""
        for key, value in tags.items():
            self.client.set_model_version_tag(self.name, version.number, key, value)

    def move(self, to: Version, expected: Version | None) -> bool:
        """Point the alias at `to` if it points at `expected`, or at nothing for None.

        Returns:
            Whether the alias has moved; False when another process has moved it before.

        Raises:
            ServingError: The lease could not be had; see `Lease.held`.
        """
        with self.lease.held():
            now = self.champion()
            if (now and now.number) != (expected and expected.number):
                return False
            self.client.set_registered_model_alias(self.name, CHAMPION, to.number)
            return True

    def seen(self, version: Version) -> ImageSet | None:
        """The images that a version has seen; None for one of an older release, which does not say."""
        from mlflow.artifacts import download_artifacts, list_artifacts

        folder = f"{version.uri}/{bundle.LOGGED}"
        if not any(Path(file.path).name == seen_images.FILE for file in list_artifacts(artifact_uri=folder)):
            return None
        with tempfile.TemporaryDirectory() as temporary:
            return image_set.read(
                Path(download_artifacts(f"{folder}/{seen_images.FILE}", dst_path=temporary))
            )

    def _newest(self, condition: str) -> Version | None:
        versions = self.client.search_model_versions(
            f"name = '{self.name}'{condition}", max_results=1, order_by=["version_number DESC"]
        )
        return self._version(versions[0]) if versions else None

    def _version(self, version: Any) -> Version:
        return Version(str(version.version), f"models:/{self.name}/{version.version}", dict(version.tags))


def check_champion(uri: str) -> None:
    """Check that `models:/NAME@champion` leads to a version, within `tracking.connected`; other URIs pass.

    Raises:
        ServingError: The model has no champion; with the version to name instead.
    """
    name = uri.removeprefix("models:/").removesuffix(f"@{CHAMPION}")
    if uri != f"models:/{name}@{CHAMPION}":
        return
    registry = Registry(name)
    if registry.champion():
        return
    newest = registry.newest()
    advice = f": name a version, such as {newest.uri}" if newest else " and no version"
    raise ServingError(f"{name} has no champion{advice}")
