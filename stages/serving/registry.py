"""MLflow's registry: versions of one model, and the alias `champion`, which two promotions never both win.

MLflow sets an alias for whoever comes last: two promotions that were both judged against the same champion
would both succeed. What its server does decide atomically, on any database, is a run's param: it can be
written once, and a second value is refused. So the one that writes the param `promotion_lease.N` first holds
lease N, and only it compares the champion with the one it was judged against and moves the alias; whoever
lost judges again. A holder that died is waited for LEASE seconds, then N + 1 is up for grabs. The params are
those of the run of the model's first version, which everybody finds. A lock in the database would be no
shorter and would need its address; a file beside it excludes nobody on another machine.

What this leaves open: a holder that is suspended for longer than LEASE seconds between comparing and moving
(two requests) moves the alias all the same.
"""

import contextlib
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.common.errors import ServingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"
# Tags of a version: which bundle and code it is of, and which version was champion before it.
DIGEST, BEFORE = "digest", "champion_before"
LEASE = 30.0
_KEY, _RETURNED = "promotion_lease.", "promotion_lease_returned"
_POLL = 0.1


@dataclass(frozen=True)
class Version:
    """One version of the registered model."""

    number: str
    uri: str
    tags: dict[str, str]


class Registry:
    """The versions of the model `name` at the current tracking server."""

    def __init__(self, name: str, lease: float = LEASE) -> None:
        self.name = name
        self._client: MlflowClient = _client()
        self._lease = lease

    def champion(self) -> Version | None:
        """The version that the alias points at."""
        from mlflow.exceptions import MlflowException

        try:
            return self._version(self._client.get_model_version_by_alias(self.name, CHAMPION))
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def find(self, digest: str) -> Version | None:
        """The newest version with this digest."""
        found = self._client.search_model_versions(
            f"name = '{self.name}' and tags.`{DIGEST}` = '{digest}'", order_by=["version_number DESC"]
        )
        return self._version(found[0]) if found else None

    def get(self, number: str) -> Version:
        """One version. Raises ServingError when there is none of this number."""
        from mlflow.exceptions import MlflowException

        try:
            return self._version(self._client.get_model_version(self.name, number))
        except MlflowException as error:
            raise ServingError(f"models:/{self.name}/{number} is not there: {error.message}") from None

    def register(self, model_uri: str, run_id: str, digest: str) -> Version:
        """A new version of the model that is logged at `model_uri`."""
        from mlflow.exceptions import MlflowException

        with contextlib.suppress(MlflowException):  # it exists, as it does but for the first version
            self._client.create_registered_model(self.name)
        made = self._client.create_model_version(
            self.name, model_uri, run_id, tags={DIGEST: digest}, model_id=model_uri.removeprefix("models:/")
        )
        return self._version(made)

    def tag(self, version: Version, **tags: str) -> None:
        """Put tags on a version."""
        for key, value in tags.items():
            self._client.set_model_version_tag(self.name, version.number, key, value)

    def move(self, to: Version, expected: Version | None) -> bool:
        """Point the alias at `to` if it still points where it is `expected`; False when it does not."""
        with self._leased():
            now = self.champion()
            if (now and now.number) != (expected and expected.number):
                return False
            self._client.set_registered_model_alias(self.name, CHAMPION, to.number)
            return True

    @contextlib.contextmanager
    def _leased(self) -> Iterator[None]:
        run_id = self._first_run()
        number = self._take(run_id)
        try:
            yield
        finally:
            self._client.set_tag(run_id, _RETURNED, str(number))

    def _take(self, run_id: str) -> int:
        """Write the next lease's param before anybody else does; its number."""
        from mlflow.exceptions import MlflowException

        me = uuid.uuid4().hex
        seen, since = -1, time.monotonic()
        while True:
            last, returned = self._last(run_id)
            if last != seen:
                seen, since = last, time.monotonic()
            if last > returned and time.monotonic() - since < self._lease:
                time.sleep(_POLL)
                continue
            with contextlib.suppress(MlflowException):  # somebody else was first
                self._client.log_param(run_id, f"{_KEY}{last + 1}", me)
            if self._client.get_run(run_id).data.params.get(f"{_KEY}{last + 1}") == me:
                return last + 1

    def _last(self, run_id: str) -> tuple[int, int]:
        """The last lease taken and the last returned; 0 where there is none."""
        data = self._client.get_run(run_id).data
        taken = [int(key.removeprefix(_KEY)) for key in data.params if key.startswith(_KEY)]
        return max(taken, default=0), int(data.tags.get(_RETURNED, 0))

    def _first_run(self) -> str:
        found = self._client.search_model_versions(f"name = '{self.name}'", order_by=["version_number ASC"])
        runs = [str(one.run_id) for one in found if one.run_id]
        if not runs:
            raise ServingError(f"no version of the model {self.name} has a run; promote one first")
        return runs[0]

    def _version(self, found: Any) -> Version:
        return Version(str(found.version), f"models:/{self.name}/{found.version}", dict(found.tags))


def _client() -> "MlflowClient":
    from mlflow import MlflowClient

    return MlflowClient()
