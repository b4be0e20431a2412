#!/usr/bin/env bash
# docker/with-cluster.sh COMMAND…: run COMMAND on a throwaway Kubernetes cluster of one node.
#
# Builds Kubernetes' programs once (cluster/build.sh), starts a throwaway engine (with-engine.sh; CONVOY_ENGINE=FOLDER
# stores its images for the next time) and the cluster on it (cluster/start.sh, which lists COMMAND's variables), and
# removes both afterwards with everything in them. An engine in reach is never used: a node removes its containers.
# Exit status: COMMAND's; 69 (EX_UNAVAILABLE) when no cluster can be started, after one line with the reason.
set -euo pipefail
cd "$(dirname "$0")/.."

unavailable() { echo "with-cluster: no cluster can be started: $1" >&2; exit 69; }
[ "$(id -u)" = 0 ] || unavailable "that takes root"
for tool in etcd dnsmasq docker-registry openssl; do
  command -v "$tool" >/dev/null ||
    unavailable "$tool is missing (Debian: apt-get install etcd-server dnsmasq-base docker-registry openssl)"
done
[ "$(stat --file-system --format %T /sys/fs/cgroup)" = tmpfs ] ||
  unavailable "the kubelet of this version needs cgroup v1, and this machine has v2 alone"
programs=$(docker/cluster/build.sh)

# The engine finds the wrapper of runc there, before the real one.
export PATH=$PWD/docker/cluster/bin:$programs:$PATH
export DOCKER_HOST=unix:///nowhere
exec docker/with-engine.sh docker/cluster/start.sh "$@"
