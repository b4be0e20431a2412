#!/usr/bin/env bash
# docker/with-engine.sh COMMAND…: run COMMAND where `docker` works.
#
# With a reachable engine, this runs COMMAND alone. Without one, it starts a throwaway engine from the packages
# docker.io and iptables (as root), sets DOCKER_HOST for COMMAND, and removes the engine afterwards with
# everything in it. CONVOY_ENGINE=FOLDER stores images and build cache there for the next time.
# Exit status: COMMAND's; 69 (EX_UNAVAILABLE) when no engine can be started, after one line with the reason.
set -euo pipefail

if docker info >/dev/null 2>&1; then exec "$@"; fi

unavailable() { echo "with-engine: no Docker engine is in reach and none can be started: $1" >&2; exit 69; }
[ "$(id -u)" = 0 ] || unavailable "that takes root"
for tool in dockerd docker ip iptables; do
  command -v "$tool" >/dev/null || unavailable "$tool is missing (Debian: apt-get install docker.io iproute2 iptables)"
done

# Always a short path: the kernel allows 108 characters for that of a socket, and containerd adds 30.
run=$(mktemp -d /tmp/convoy-engine.XXXXXX)
data=${CONVOY_ENGINE:-$run}
mkdir -p "$data"
# The list of mounts has real paths.
data=$(realpath "$data")
exec {lock}>"$data/lock"
flock --nonblock "$lock" || { rmdir "$run"; unavailable "another engine runs in $data"; }

# A bridge of its own: two engines on docker0 would assign the same addresses.
bridge=convoy$((BASHPID % 100000))
ip link add name "$bridge" type bridge || unavailable "no bridge can be created here"
# Not by `ip | grep --quiet`: grep ends at the first match, and the pipe then fails where ip still writes.
addresses=$(ip -o address)
for third in $(seq 0 254); do
  [[ $addresses == *" 10.217.$third."* ]] || break
done
ip address add "10.217.$third.1/24" dev "$bridge"
# A bridge without a MAC address takes that of a port, and changes it when that container ends. Packets to this
# machine are then lost for half a minute.
ip link set "$bridge" address "02:42:0a:d9:$(printf %02x "$third"):01" up

engine=
stop() {
  trap - EXIT INT TERM
  if [ -n "$engine" ]; then
    docker ps --quiet 2>/dev/null | xargs --no-run-if-empty docker rm --force >/dev/null 2>&1 || true
    # Networks of Compose, too: a bridge outlives its engine.
    docker network prune --force >/dev/null 2>&1 || true
    kill "$engine" 2>/dev/null || true
    wait "$engine" 2>/dev/null || true
  fi
  ip link delete "$bridge" 2>/dev/null || true
  # dockerd does not remove the bridge's rules; old ones block the next bridge of the same subnet.
  for table in filter nat; do
    iptables --table "$table" --list-rules | grep -e " $bridge " -e " $bridge\$" | sed 's/^-A/-D/' |
      while read -r rule; do xargs iptables --wait --table "$table" <<<"$rule"; done || true
  done
  # dockerd does not remove mounts: of its folder on itself after an error, and of the host's network namespace
  # once a container has run in it.
  findmnt --raw --noheadings --output TARGET | grep -e "^$run/" -e "^$data/data" | sort --reverse |
    xargs --no-run-if-empty umount || true
  # rm prints what it cannot remove; the exit status stays COMMAND's.
  rm -rf "$run" || true
}
trap stop EXIT
trap 'stop; exit 130' INT TERM

export DOCKER_HOST="unix://$run/docker.sock"
# A newer client without buildx cannot build; Debian's client, from the engine's package, can.
if [ -x /usr/bin/docker ] && ! docker buildx version >/dev/null 2>&1; then
  mkdir "$run/bin"
  ln -s /usr/bin/docker "$run/bin/docker"
  export PATH="$run/bin:$PATH"
fi
# Without the lock: processes of a killed engine must not hold it.
dockerd --host "$DOCKER_HOST" --data-root "$data/data" --exec-root "$run/exec" \
  --pidfile "$run/docker.pid" --bridge "$bridge" --log-level warn >"$run/dockerd.log" 2>&1 {lock}>&- &
engine=$!
until docker info >/dev/null 2>&1; do
  if ! kill -0 "$engine" 2>/dev/null; then
    last=$(tail -1 "$run/dockerd.log")
    engine=
    unavailable "dockerd ended: $last"
  fi
  sleep 0.2
done

"$@" {lock}>&- && status=0 || status=$?
exit "$status"
