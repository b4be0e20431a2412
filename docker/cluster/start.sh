#!/usr/bin/env bash
# docker/cluster/start.sh COMMAND…: run COMMAND on a cluster whose one node runs pods on the engine of DOCKER_HOST.
#
# with-cluster.sh calls it. etcd, API server, controller manager, scheduler and kubelet are processes of this machine.
# What a usual cluster has besides is replaced by less: pods are on the engine's bridge (no network plug-in, so network
# policies are accepted and not enforced), the address of the service `kubernetes` is one of the bridge (no kube-proxy),
# each name that a pod looks up is this machine (dnsmasq), and one volume is a folder of this machine. Services of
# COMMAND that pods call listen on CONVOY_CLUSTER_HOST. COMMAND's variables:
#
#   KUBECONFIG                may do everything
#   CONVOY_CLUSTER_HOST       this machine's address as pods see it
#   CONVOY_CLUSTER_VOLUME     the folder that the claim of storage.yaml is bound to, of user 1000
#   CONVOY_CLUSTER_REGISTRY   HOST:PORT of an empty image registry
#   CONVOY_CLUSTER_APISERVER  the API server's process id
set -euo pipefail
root=$PWD

host=$(docker network inspect bridge --format '{{(index .IPAM.Config 0).Gateway}}')
# 10.217.THIRD.1, of which no two engines have the same.
third=$(cut -d . -f 3 <<<"$host")
service=10.218.$third.1
local=127.217.$third.1
bridge=$(ip -brief address show to "$host" | cut -d ' ' -f 1)
run=$(mktemp -d /tmp/convoy-cluster.XXXXXX)

parts=()
stop() {
  trap - EXIT INT TERM
  # The node first, or it would start again what is removed.
  for part in "${parts[@]}"; do kill "$part" 2>/dev/null || true; wait "$part" 2>/dev/null || true; done
  docker ps --all --quiet --filter name=k8s_ | xargs --no-run-if-empty docker rm --force --volumes >/dev/null 2>&1 || true
  findmnt --raw --noheadings --output TARGET | grep "^$run/" | sort --reverse | xargs --no-run-if-empty umount || true
  rm -rf "$run" || true
}
trap stop EXIT
trap 'stop; exit 130' INT TERM

# start NAME COMMAND…: in the background; the log is NAME.log. The last one is stopped first.
start() {
  "${@:2}" >"$run/$1.log" 2>&1 &
  parts=("$!" "${parts[@]}")
}
# until_true NAME COMMAND…: wait until COMMAND succeeds; end with the log's last line where program NAME does not.
until_true() {
  for _ in $(seq 600); do
    if "${@:2}" >/dev/null 2>&1; then return; fi
    kill -0 "${parts[0]}" 2>/dev/null || break
    sleep 0.2
  done
  echo "with-cluster: no cluster can be started: $1 is not ready: $(tail -1 "$run/$1.log")" >&2
  exit 69
}

mkdir -p "$run/pki" "$run/volume"
chown 1000:1000 "$run/volume"
cd "$run/pki"
openssl genrsa -out accounts.key 2048 2>/dev/null
# By this certificate the kubelet knows the API server, which fetches logs from it.
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=apiserver -keyout client.key -out client.crt 2>/dev/null
token=$(openssl rand -hex 24)
echo "$token,admin,admin,system:masters" >tokens.csv
cd "$run"

# A loopback address: an engine pulls from those without TLS.
registry=$local:5000
cat >registry.yaml <<YAML
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $run/registry}}
http: {addr: "$registry"}
YAML
start registry docker-registry serve registry.yaml
start names dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --bind-interfaces \
  --listen-address="$host" --except-interface=lo --address="/#/$host"
start etcd etcd --data-dir "$run/etcd" --log-level error --listen-peer-urls "http://$local:2380" \
  --listen-client-urls "http://$local:2379" --advertise-client-urls "http://$local:2379"
until_true etcd bash -c "echo >/dev/tcp/$local/2379"

ip address add "$service/32" dev "$bridge"
start apiserver kube-apiserver --etcd-servers "http://$local:2379" --bind-address "$service" --secure-port 443 \
  --advertise-address "$service" --service-cluster-ip-range "10.218.$third.0/24" --cert-dir pki \
  --authorization-mode Node,RBAC --token-auth-file pki/tokens.csv --kubelet-preferred-address-types InternalIP \
  --kubelet-client-certificate pki/client.crt --kubelet-client-key pki/client.key \
  --service-account-issuer https://kubernetes.default.svc --service-account-key-file pki/accounts.key \
  --service-account-signing-key-file pki/accounts.key
export CONVOY_CLUSTER_APISERVER=${parts[0]}
export KUBECONFIG=$run/kubeconfig
for _ in $(seq 150); do [ ! -e pki/apiserver.crt ] || break; sleep 0.2; done
cat >"$KUBECONFIG" <<YAML
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: here, user: here}}]
clusters: [{name: here, cluster: {server: "https://$service", certificate-authority-data: $(base64 --wrap 0 pki/apiserver.crt)}}]
users: [{name: here, user: {token: $token}}]
YAML
until_true apiserver kubectl get --raw /readyz

start controller-manager kube-controller-manager --kubeconfig "$KUBECONFIG" --leader-elect=false \
  --bind-address "$local" --port 0 --root-ca-file pki/apiserver.crt \
  --service-account-private-key-file pki/accounts.key --use-service-account-credentials
start scheduler kube-scheduler --kubeconfig "$KUBECONFIG" --leader-elect=false --bind-address "$local" --port 0
docker image inspect convoy/pause >/dev/null 2>&1 || {
  "$root/docker/base.sh"
  docker build --quiet --tag convoy/pause - >/dev/null <<'DOCKERFILE'
FROM debian:bookworm-slim
CMD ["bash", "-c", "trap exit TERM; sleep infinity & wait"]
DOCKERFILE
}
start kubelet kubelet --kubeconfig "$KUBECONFIG" --container-runtime docker --docker-endpoint "$DOCKER_HOST" \
  --root-dir "$run/kubelet" --cert-dir pki/kubelet --pod-infra-container-image convoy/pause \
  --hostname-override node --node-ip "$host" --address "$host" --healthz-port 0 --read-only-port 0 \
  --anonymous-auth=false --client-ca-file pki/client.crt --authorization-mode AlwaysAllow \
  --cluster-dns "$host" --cluster-domain cluster.local --fail-swap-on=false --oom-score-adj 0 \
  --cgroup-driver cgroupfs --cgroups-per-qos=false --enforce-node-allocatable= --make-iptables-util-chains=false \
  --image-gc-high-threshold 100 --eviction-hard=
until_true kubelet kubectl wait --for condition=Ready node/node --timeout 1s
until_true controller-manager kubectl get serviceaccount default
kubectl create --filename - >/dev/null <<YAML
apiVersion: v1
kind: PersistentVolume
metadata: {name: convoy}
spec:
  accessModes: [ReadWriteMany]
  capacity: {storage: 200Gi}
  hostPath: {path: $run/volume}
YAML

export CONVOY_CLUSTER_HOST=$host CONVOY_CLUSTER_VOLUME=$run/volume CONVOY_CLUSTER_REGISTRY=$registry
cd "$root"
"$@" && status=0 || status=$?
exit "$status"
