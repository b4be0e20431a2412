#!/opt/venv/bin/python
"""Give MLflow the user that stages log in as, and grant it what the user admin made before it.

The user may create experiments and models, and change those it has created. It can neither manage users nor
change what others create later: a stage runs the code of a commit, and needs no more. Run with
MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD of the user admin, and with
MLFLOW_STAGES_PASSWORD.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.server.auth.client import AuthServiceClient

USER = "stages"
# MLflow's own experiment, which no stage uses.
DEFAULT = "0"


def main() -> None:
    """Create the user, or set its password; grant it what exists."""
    server, password = os.environ["MLFLOW_TRACKING_URI"], os.environ["MLFLOW_STAGES_PASSWORD"]
    users, tracking = AuthServiceClient(server), MlflowClient(server)
    if not created(lambda: users.create_user(USER, password)):
        users.update_user_password(USER, password)
    resources = [
        ("experiment", experiment.experiment_id)
        for experiment in tracking.search_experiments()
        if experiment.experiment_id != DEFAULT
    ]
    resources += [("registered_model", model.name) for model in tracking.search_registered_models()]
    for kind, name in resources:
        created(partial(users.grant_user_permission, USER, kind, name, "MANAGE"))
    print(f"MLflow's user {USER} may change {len(resources)} experiments and models that exist")


def created(create: Callable[[], Any]) -> bool:
    """Create something; return whether it was new."""
    try:
        create()
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return False
    return True


if __name__ == "__main__":
    main()
