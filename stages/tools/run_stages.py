"""run_stages: run the pipeline up to some stages, for a tool that reads their outputs."""

from stages import cli
from stages.tools import _experiment


def run_stages(stages: list[str], *, recipe: str | None = None, member: str | None = None) -> None:
    """Check params and source, then run stages and those that they need.

    Args:
        stages: Names of dvc.yaml.
        recipe: A file of conf/recipe, without its ending; by default params.yaml as it is.
        member: The member that the tool is for; it must be in `models` of the recipe.

    Raises:
        LockedError: Another run is under way in this folder.
        ParamsError: A param is wrong, or there is no such member.
        SourceError: DVC cannot read the source.
        ConvoyError: DVC fails.
    """
    _experiment.run([f"recipe={recipe}"] if recipe else [], *stages, member=member)


if __name__ == "__main__":
    cli.main(run_stages)
