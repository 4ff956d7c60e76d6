# SPDX-License-Identifier: GPL-2.0
# The demo in the guest: a host with iptables rules and four services, of which one connection each is traced.
. /test/lib.sh

services() {
    for address in 11 13 14; do
        ip netns exec h traffic listen "10.1.0.$address" "$port" --background >/dev/null
    done
}

# demo PORT PATHTRACE-ARGUMENT…
demo() {
    port=$1
    shift
    mkdir -p "$work"
    topology_host
    for last in 11 12 13 14; do
        ip -n h addr add "10.1.0.$last/24" dev eth0
        warm c "10.1.0.$last"
    done
    # Where a kernel has no ip_tables, the same rules go through iptables-nft.
    ipt=iptables-legacy
    ip netns exec h $ipt -S >/dev/null 2>&1 || ipt=iptables-nft
    rules=$(
        cat <<END
$ipt -N web
$ipt -A web -s 192.168.0.0/16 -j ACCEPT
$ipt -A web -p tcp --dport $port -j REJECT --reject-with tcp-reset
$ipt -A INPUT -d 10.1.0.11 -p tcp --dport $port -j web
$ipt -A INPUT -d 10.1.0.13 -p tcp --dport $port -j DROP
$ipt -A INPUT -p tcp --dport $port -j ACCEPT
END
    )
    echo "$rules" | commands h || die 'rules'
    printf '\nOn the host h nothing listens on port %s when the first connection comes, to 10.1.0.12; then services start on\n' "$port"
    printf '10.1.0.11, .13 and .14. Its rules:\n'
    echo "$rules" | sed 's/^/    # /'

    printf '\n-- pathtrace -- (pathtrace %s)\n\n' "$*"
    mkfifo "$work/ready"
    traffic unignore pathtrace --ready-fd 9 "$@" 9>"$work/ready" &
    pathtrace=$!
    if [ "$(timeout 60 dd bs=64 count=1 if="$work/ready" 2>/dev/null | wc -c)" -gt 0 ]; then
        for last in 12 11 13 14; do
            [ $last != 11 ] || services
            printf '    connect 10.1.0.%s port %s: ' "$last" "$port"
            ip netns exec c traffic connect "10.1.0.$last" "$port" --timeout 2500 --send 100
        done >"$work/client"
        kill -INT $pathtrace 2>/dev/null
    fi
    wait $pathtrace
    status=$?
    printf '\n-- the client -- saw\n'
    cat "$work/client" 2>/dev/null
    return $status
}
