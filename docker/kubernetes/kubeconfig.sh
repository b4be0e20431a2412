#!/usr/bin/env bash
# docker/kubernetes/kubeconfig.sh FILE: write a kubeconfig whose one user may run pods of stages, as Airflow must.
#
# Creates the account of outside.yaml in the cluster of the current context. FILE has its token; only you can read it.
set -euo pipefail
file=${1:?name the file to write: docker/kubernetes/kubeconfig.sh ~/.kube/convoy}
[ ! -e "$file" ] || { echo "error: $file exists; remove it, or name another file" >&2; exit 1; }

kubectl apply --filename "$(dirname "$0")/outside.yaml"
# Kubernetes writes the token a moment after the Secret exists.
for _ in $(seq 100); do
  token=$(kubectl --namespace convoy get secret airflow-outside --output 'jsonpath={.data.token}' | base64 --decode)
  [ -z "$token" ] || break
  sleep 0.2
done
[ -n "$token" ] || { echo "error: the Secret airflow-outside has no token after 20 s" >&2; exit 1; }
umask 077
mkdir -p "$(dirname "$file")"
# Beside FILE, and moved at the end: until then the copy has your own login.
partial=$(mktemp "$file.XXXXXX")
trap 'rm -f "$partial"' EXIT
kubectl config view --minify --flatten >"$partial"
export KUBECONFIG=$partial
kubectl config unset users >/dev/null
kubectl config set-credentials airflow-outside --token "$token" >/dev/null
kubectl config set-context --current --user airflow-outside --namespace convoy >/dev/null
mv "$partial" "$file"
echo "wrote $file"
