#!/usr/bin/env bash
# docker/images.sh [TARGET…]: build the images convoy/TARGET: data train airflow mlflow proxy, or those named;
# train-gpu (7 GB) and train-jax only by name. PLUGINS="dvc-s3 …": packages for DVC remotes, in the stages' images.
set -euo pipefail
cd "$(dirname "$0")/.."

docker/base.sh
commit=$(git rev-parse HEAD)
[ -z "$(git status --porcelain -- stages pipelines requirements docker)" ] || commit=$commit-dirty
for target in ${@:-data train airflow mlflow proxy}; do
  case $target in data | train | train-gpu | train-jax) file=stage ;; *) file=$target ;; esac
  echo "convoy/$target"
  DOCKER_BUILDKIT=1 docker build --quiet --file "docker/$file.Dockerfile" --target "$target" \
    ${BASE_IMAGE:+--build-arg "BASE_IMAGE=$BASE_IMAGE"} ${PLUGINS:+--build-arg "PLUGINS=$PLUGINS"} \
    --build-arg "COMMIT=$commit" --tag "convoy/$target" .
done
