"""A stage's inputs and outputs as OpenLineage's provider for Airflow wants them, where that is installed."""

from collections.abc import Mapping
from typing import Any

from airflow.providers.openlineage.extractors import OperatorLineage
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.generated.dataset_version_dataset import DatasetVersionDatasetFacet
from openlineage.client.generated.output_statistics_output_dataset import OutputStatisticsOutputDatasetFacet


def facets(repository: str, result: Mapping[str, Any]) -> OperatorLineage:
    """Name what a stage has read and written.

    Args:
        repository: The namespace of all paths, without a login.
        result: The worker's result, with `inputs` and `outputs`.

    Returns:
        The data sets: their version is DVC's digest.
    """

    def version(row: Mapping[str, Any]) -> dict[str, Any]:
        return {"version": DatasetVersionDatasetFacet(datasetVersion=str(row["digest"]))}

    inputs = [
        InputDataset(namespace=repository, name=path, facets=version(row))
        for path, row in result["inputs"].items()
    ]
    outputs = [
        OutputDataset(
            namespace=repository,
            name=path,
            facets=version(row),
            outputFacets={
                "outputStatistics": OutputStatisticsOutputDatasetFacet(
                    size=row["bytes"], fileCount=row["files"]
                )
            },
        )
        for path, row in result["outputs"].items()
    ]
    return OperatorLineage(inputs=inputs, outputs=outputs)
