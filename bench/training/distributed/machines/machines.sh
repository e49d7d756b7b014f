#!/usr/bin/env bash
# A cluster of machines on one, for root on Linux:
#
#     machines.sh [--machines 4] [--rate 1gbit] COMMAND ...
#
# starts machines a, b, c, ... and runs COMMAND on a head node. COMMAND reaches them by name, and starts programs on
# them with `ssh`, as mpirun does; the `ssh` of this folder needs no password. All share the files of this machine.
#
# A machine is a process with namespaces of its own: network, host name, processes, shared memory. So its programs can
# talk to others through its link only, which has the given rate in each direction, and they find as many cores as an
# equal share. Everything is within one more namespace of processes: when COMMAND ends, or this script in any way, the
# kernel ends all processes in it, and with them go the machines and their network. Nothing is left to remove.
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")

fail() {
  echo "machines.sh: $*" >&2
  exit 2
}

if [ "${1-}" != --inside ]; then
  machines=4
  rate=1gbit
  while [[ ${1-} == --* ]]; do
    case $1 in
      --machines) machines=${2-} ;;
      --rate) rate=${2-} ;;
      *) fail "unknown option $1 (expected --machines or --rate)" ;;
    esac
    shift 2 || fail "$1 needs a value"
  done
  [[ $machines =~ ^[1-9]$ ]] || fail "invalid --machines: $machines (expected 1 to 9)"
  [ $# -gt 0 ] || fail 'no command (expected machines.sh [--machines 4] [--rate 1gbit] COMMAND ...)'
  [ "$(id -u)" = 0 ] || fail 'only root can start machines'
  for tool in ip tc; do
    command -v "$tool" >/dev/null || fail "$tool is not installed (apt-get install iproute2)"
  done
  # A command in the background would ignore Ctrl-C, and unshare itself ignores SIGTERM. It dies with this script.
  env --default-signal=INT,QUIT setpriv --pdeathsig KILL unshare --mount --net --uts --ipc --pid --mount-proc --kill-child \
    bash "$here/machines.sh" --inside "$machines" "$rate" "$@" <&0 &
  inside=$!
  trap 'kill -KILL $inside 2>/dev/null || true' EXIT
  trap 'exit 143' TERM
  trap 'exit 129' HUP
  trap : INT QUIT
  while true; do
    code=0
    wait "$inside" || code=$?
    kill -0 "$inside" 2>/dev/null || exit "$code"
  done
fi

# From here on we are process 1 of the cluster.
machines=$2
rate=$3
shift 3
letters=abcdefghi
cores=$(env -u OMP_NUM_THREADS nproc)

# Segments of 64 KiB must fit into a burst, which passes at once.
limit() { tc qdisc add dev "$1" root tbf rate "$rate" burst 128kb latency 200ms; }

name_hosts() {
  hostname "$1"
  mount -t tmpfs hosts /mnt
  {
    echo '127.0.0.1 localhost'
    echo '10.77.0.100 head'
    for ((i = 0; i < machines; i++)); do echo "10.77.0.$((i + 1)) ${letters:i:1}"; done
  } >/mnt/hosts
  mount --bind /mnt/hosts /etc/hosts
  umount /mnt
}

# Runs a command on a machine, given a process in its namespaces whose children are the machine's.
enter() {
  local process=$1
  shift
  nsenter --target "$process" --net --uts --ipc --mount --pid="/proc/$process/ns/pid_for_children" --wdns="$PWD" "$@"
}

start_machine() {
  local index=$1 name=${letters:$1:1} first=$(($1 % cores)) share=1 begun started
  if ((machines < cores)); then
    share=$((cores / machines))
    first=$((index * share))
  fi
  # The first process of a machine: `wait` collects processes whose parent has ended.
  exec {started}< <(exec unshare --net --uts --ipc --mount --pid --mount-proc --kill-child \
    bash -c 'echo; exec >&2; sleep infinity & wait')
  begun=$!
  read -r -u "$started"
  exec {started}<&-
  ip link add name "$name" type veth peer name eth0 netns "$begun"
  ip link set dev "$name" master switch up
  limit "$name"
  enter "$begun" bash -c "$(declare -f limit)
    set -e
    rate=$rate
    hostname $name
    mount -t tmpfs shared-memory /dev/shm
    mount -t sysfs sysfs /sys
    ip link set dev lo up
    ip address add 10.77.0.$((index + 1))/24 dev eth0
    ip link set dev eth0 up
    limit eth0"
  CLUSTER_MACHINES+=" $name:$begun:$first-$((first + share - 1))"
}

mount --make-rprivate /
# Process ids repeat in every cluster, so names of temporary files with them would too.
mount -t tmpfs shared-memory /dev/shm
export TMPDIR=/dev/shm
ip link set dev lo up
ip link add name switch type bridge
ip address add 10.77.0.100/24 dev switch
ip link set dev switch up
name_hosts head
CLUSTER_MACHINES=
for ((machine = 0; machine < machines; machine++)); do start_machine "$machine"; done
export -f enter
export CLUSTER_MACHINES PATH="$here:$PATH"
code=0
"$@" || code=$?
exit "$code"
