"""The params of the next run, composed by Hydra from conf/ as `dvc exp run -S …` composes them."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from stages.common.errors import ParamsError

NEXT = Path(".convoy/next_params.yaml")


def compose(conf: Path, overrides: Sequence[str], path: Path) -> None:
    """Compose params and write them.

    Args:
        conf: The folder of Hydra's groups.
        overrides: `KEY=VALUE` words of Hydra.
        path: The YAML file to write.

    Raises:
        ParamsError: A file is no YAML, a word is not KEY=VALUE, a key or group does not exist, or a value
            that a recipe has to set is missing.
    """
    # 0.3 s, which a run without overrides does not need.
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException, OverrideParseException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(conf.absolute()), version_base=None):
            composed = hydra_compose("config", list(overrides))
        OmegaConf.resolve(composed)
    except OverrideParseException as error:
        # Hydra's own message is its parser's: "no viable alternative at input". A blank ends a word of SET.
        raise ParamsError(
            f"SET: {error.override!r} is not KEY=VALUE; no blanks around = or inside a value: "
            "resize.size=[64,64]"
        ) from None
    except (HydraException, OmegaConfBaseException) as error:
        # Hydra gives OmegaConf's error as the cause of one without a message.
        reason = str(error) or str(error.__cause__)
        raise ParamsError(" ".join(reason.split())) from None
    except (yaml.YAMLError, ValueError) as error:
        # ValueError: of a text that is no UTF-8, for one.
        raise ParamsError(f"{conf}: {' '.join(str(error).split())}") from None
    if missing := sorted(map(str, OmegaConf.missing_keys(composed))):
        raise ParamsError(f"the recipe sets no value for {', '.join(missing)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(OmegaConf.to_yaml(composed), encoding="utf-8")
