# SPDX-License-Identifier: GPL-2.0
# Functions of the test VM, for dash. What a scenario compiles to (scenario.py) reads like a list of calls of these.
#
# topology_host     client c (10.1.0.2, fd01::2) — h (10.1.0.1, fd01::1), the traced host
# topology_bridge   client c (10.1.0.2) — h (bridge br0 of eth0 and eth1) — server s (10.1.0.3); fd01::/64 alike
# topology_router   client c (10.1.0.2) — r (eth0 10.1.0.1, eth1 10.2.0.1, forwards) — server s (10.2.0.2); fd01::/64 and fd02::/64 alike
#
# Interfaces are called eth0 in every namespace. Neighbours are resolved before anything is traced: a cold one hides rp_filter.

# Set by `begin`: where a variant's artifacts go, and what only this variant uses meanwhile.
dir=/artifacts
work=/tmp/work

die() {
    printf 'set-up failed: %s\n' "$*" >&2
    exit 99
}

# Something the host must report as a failure.
problem() {
    printf '%s\n' "$*" >>"$dir/problems"
}

# Topologies. To start ip costs the emulator 50 to 90 ms: it gets several commands at once.

namespace() {
    ip netns add "$1" || die "namespace $1"
    # Addresses are usable at once, and nobody solicits routers.
    nsenter --net="/run/netns/$1" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
        net.ipv6.conf.all.router_solicitations=0 net.ipv6.conf.default.router_solicitations=0 \
        net.ipv6.conf.all.accept_ra=0 net.ipv6.conf.default.accept_ra=0 || die "sysctl in $1"
    nsenter --net="/run/netns/$1" ifconfig lo up || die "lo in $1"
}

# wire NS IFACE IPV4 IPV6  NS IFACE IPV4 IPV6
wire() {
    ip link add "$2" netns "$1" type veth peer name "$6" netns "$5" || die "veth $1 $5"
    address "$1" "$2" "$3" "$4"
    address "$5" "$6" "$7" "$8"
}

address() {
    printf 'addr add %s/24 dev %s\naddr add %s/64 dev %s nodad\nlink set %s up\n' "$3" "$2" "$4" "$2" "$2" |
        ip -n "$1" -batch - || die "address $1 $2"
}

warm() {
    for try in 1 2 3 4 5; do
        nsenter --net="/run/netns/$1" ping -c 1 -W 1 "$2" >/dev/null 2>&1 && return
    done
    die "$2 does not answer $1"
}

topology_host() {
    namespaces='c h'
    namespace c
    namespace h
    wire c eth0 10.1.0.2 fd01::2 h eth0 10.1.0.1 fd01::1
    warm c 10.1.0.1
    warm c fd01::1
}

topology_bridge() {
    namespaces='c h s'
    namespace c
    namespace h
    namespace s
    ip -n h link add br0 type bridge forward_delay 0 && ip -n h link set br0 up || die "bridge"
    for end in 'c 2 eth0' 's 3 eth1'; do
        set -- $end
        ip link add eth0 netns "$1" type veth peer name "$3" netns h || die "veth $1"
        address "$1" eth0 "10.1.0.$2" "fd01::$2"
        ip -n h link set "$3" master br0 up || die "port $3"
    done
    warm c 10.1.0.3
    warm c fd01::3
}

topology_router() {
    namespaces='c r s'
    namespace c
    namespace r
    namespace s
    wire c eth0 10.1.0.2 fd01::2 r eth0 10.1.0.1 fd01::1
    wire r eth1 10.2.0.1 fd02::1 s eth0 10.2.0.2 fd02::2
    nsenter --net=/run/netns/r sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    printf 'route add default via %s\n' 10.1.0.1 fd01::1 | ip -n c -batch - || die 'routes of c'
    printf 'route add default via %s\n' 10.2.0.1 fd02::1 | ip -n s -batch - || die 'routes of s'
    warm c 10.2.0.2
    warm c fd02::2
}

# Steps of a scenario. N is the step's number, under which the host looks for what it said.

# begin NAME BACKEND FAMILY NS…: in NS, rules are made or commands run
begin() {
    dir=/artifacts/$1
    backend=$2
    family=$3
    shift 3
    ruled=$*
    export dir # what is there so far, for `run` steps
    mkdir -p "$dir" "$work"
    cd "$work" || exit
}

# Commands from standard input, in a namespace (- is the root's), up to the first that fails.
commands() {
    if [ "$1" = - ]; then dash -e; else nsenter --net="/run/netns/$1" dash -e; fi
}

nft_rules() {
    nsenter --net="/run/netns/$1" nft -f - || die "nft rules in $1"
}

# listen N NS ADDR PORT OPTION…
listen() {
    number=$1 ns=$2
    shift 2
    nsenter --net="/run/netns/$ns" traffic listen "$@" --background >/dev/null || problem "step $number: listen $*: status $?"
}

# connect N NS ADDR PORT OPTION…
connect() {
    number=$1 ns=$2
    shift 2
    printf '%s %s\n' "$number" "$(nsenter --net="/run/netns/$ns" traffic connect "$@" --who | tr '\n' ' ')" >>"$dir/steps"
}

# in_background COMMAND…: the traffic after it doesn't wait for its end; the end of the trace does.
connects=
in_background() {
    "$@" &
    connects="$connects $!"
}

wait_for_connects() {
    # shellcheck disable=SC2086
    wait $connects
}

# run N NS, with commands from standard input
run() {
    commands "$2" >"$dir/step-$1.out" 2>&1
    printf '%s %s\n' "$1" "$?" >>"$dir/steps"
}

# start_pathtrace NS ARGUMENT…
start_pathtrace() {
    where=
    [ "$1" = - ] || where="ip netns exec $1"
    shift
    mkfifo "$work/ready"
    # Opening the pipe waits for its reader below; when pathtrace ends before it is ready, that reader sees the end of the file.
    # shellcheck disable=SC2086
    (cd / && exec $where traffic unignore pathtrace --json --ready-fd 9 "$@" >"$dir/stdout.jsonl" 2>"$dir/stderr" 9>"$work/ready") &
    pathtrace=$!
    said=$(timeout 60 dd bs=64 count=1 if="$work/ready" 2>/dev/null | wc -c)
    [ "$said" -gt 0 ] || problem 'pathtrace never was ready'
}

# stop_pathtrace [SIGNAL]: ask it to end, unless it does by itself or was asked before; a second signal would cut it short.
stop_pathtrace() {
    [ $# = 0 ] || kill "-$1" "$pathtrace" 2>/dev/null
    (sleep 30 && kill -KILL "$pathtrace" && problem 'pathtrace did not end within 30 s') >/dev/null 2>&1 &
    watchdog=$!
    wait "$pathtrace" 2>/dev/null
    printf '%s\n' "$?" >"$dir/status"
    kill "$watchdog" 2>/dev/null
    pathtrace -r "$dir/stdout.jsonl" >"$dir/text" 2>"$dir/text.err"
    printf '%s\n' "$?" >"$dir/text.status"
}

# Everything a variant made goes, so that the next starts afresh.
clean_up() {
    for process in /proc/[0-9]*; do
        [ "$process/ns/net" -ef /proc/self/ns/net ] || kill -KILL "${process#/proc/}"
    done
    for path in /run/netns/*; do
        [ ! -e "$path" ] || echo "netns del ${path##*/}"
    done | ip -batch -
    rm -rf "$work"
    # Modules with a state of their own, and what only they needed; those still in use stay.
    unused=$(awk '/^(ip_tables|ip6_tables|iptable_|ip6table_|arp|ebt|xt_|ipt_|ip6t_|nft_|nf_)/ && $3 == 0 { print $1 }' /proc/modules)
    # shellcheck disable=SC2086
    [ -z "$unused" ] || modprobe -rqa $unused
}

# Artifacts go to the raw disk, one tar after the other, so that what was done before a VM dies is not lost.

# save PATH: below /artifacts
save() {
    [ -b /dev/vda ] || return 0
    offset=$(cat /run/saved 2>/dev/null || echo 0)
    tar -C /artifacts -cf /tmp/save.tar "$1"
    size=$(stat -c %s /tmp/save.tar)
    dd if=/tmp/save.tar of=/dev/vda bs=512 seek=$((offset / 512)) conv=fsync 2>/dev/null
    echo $((offset + size)) >/run/saved
    rm -rf /tmp/save.tar
    printf '\036SAVED %d %d\n' "$offset" "$size"
}
