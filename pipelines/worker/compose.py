"""A run's params.yaml, composed by Hydra from conf/ as `dvc exp run -S …` composes it."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from pipelines.worker import dvc, shell
from pipelines.worker.job import FailedError, RefusedError
from pipelines.worker.lines import mistake_in


def compose(root: Path, overrides: list[str]) -> None:
    """Write params.yaml.

    A `*` in an override's key is every entry that has the rest of the key: `models.*.train.epochs=3` sets
    the epochs of all networks and leaves out members that have none. An override without `*` wins over one
    with it.

    Raises:
        RefusedError: One line that says which param is wrong.
    """
    exact = [override for override in overrides if "*" not in override.partition("=")[0]]
    values = _composed(root, exact)
    exact_keys = {override.partition("=")[0].lstrip("+~") for override in exact}
    expanded = [
        override
        for pattern in overrides
        if pattern not in exact
        for override in _expanded(pattern, values)
        if override.partition("=")[0] not in exact_keys
    ]
    if expanded:
        values = _composed(root, [*exact, *expanded])
    (root / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def check(root: Path) -> None:
    """Check the whole of params.yaml with the stages' own command.

    Raises:
        RefusedError: That command's line, where it says that the error is permanent.
        FailedError: That line, where a retry can help: a folder that cannot be read now, or a killed check.
    """
    done = subprocess.run(
        [sys.executable, "-m", "stages.tools.check"],
        cwd=root,
        env=shell.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"stages.tools.check: exit status {done.returncode}"]
        permanent = done.returncode in dvc.PERMANENT
        raise (RefusedError if permanent else FailedError)(mistake_in(lines[-1]) or lines[-1])


def _composed(root: Path, overrides: list[str]) -> dict[str, Any]:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException, OverrideParseException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    _load_plugins(root)
    try:
        with initialize_config_dir(str(root / "conf"), version_base=None):
            composed = hydra_compose("config", overrides)
        values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except OverrideParseException as error:
        raise RefusedError(
            f"{error.override!r} is not KEY=VALUE; no blanks around = or inside a value: resize.size=[64,64]"
        ) from None
    except (HydraException, OmegaConfBaseException) as error:
        # Hydra gives OmegaConf's error as the cause of one without a message.
        reason = " ".join((str(error) or str(error.__cause__)).split())
        raise RefusedError(f"{' '.join(overrides)}: {reason}") from None
    except (yaml.YAMLError, ValueError) as error:
        # A file of conf/ that is no YAML, or no UTF-8.
        raise RefusedError(f"conf/: {' '.join(str(error).split())}") from None
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _load_plugins(root: Path) -> None:
    """Let Hydra load the commit's plug-ins: an image has none, and Hydra looks for them once, along the path.

    `dvc exp run` does the same, by a function whose import takes 0.2 s.
    """
    from hydra.core.plugins import Plugins

    sys.path.append(str(root))
    try:
        Plugins.instance()
    finally:
        sys.path.remove(str(root))


def _expanded(pattern: str, values: Mapping[str, Any]) -> list[str]:
    """The override for each key that matches. Raises RefusedError when none does."""
    key, _, value = pattern.partition("=")
    overrides = [f"{match}={value}" for match in _keys(key.lstrip("+~").split("."), values, "")]
    if not overrides:
        raise RefusedError(f"{pattern}: these params have no {key}")
    return overrides


def _keys(parts: list[str], values: Any, before: str) -> Iterator[str]:
    if not parts:
        yield before.removeprefix(".")
    elif isinstance(values, Mapping):
        for name in values if parts[0] == "*" else [parts[0]]:
            if name in values:
                yield from _keys(parts[1:], values[name], f"{before}.{name}")
