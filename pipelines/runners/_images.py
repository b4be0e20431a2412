"""The name of a stage's image."""

from pipelines.config import Config


def image(config: Config, target: str, gpus: int) -> str:
    """The name of an image.

    Args:
        config: Its `images` is the pattern of names.
        target: A target of docker/stage.Dockerfile; what is no target's name is an image's own.
        gpus: How many GPUs the stage needs.

    Returns:
        The name with its tag.
    """
    if not target.isidentifier():
        return target
    if gpus:
        return config.images.format(target=f"{target}-gpu")
    on_jax = target == "train" and config.passed_variables.get("KERAS_BACKEND") == "jax"
    return config.images.format(target=f"{target}-jax" if on_jax else target)
