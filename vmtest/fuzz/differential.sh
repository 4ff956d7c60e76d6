# SPDX-License-Identifier: GPL-2.0
# Plays the plans of /root/fuzz in the test VM: one for IPv4, one for IPv6, each with one pathtrace from its beginning to its end.
#
# client c — eth0 h eth1 — s. Clients are 10.9.0.0/16 and fd09::/64, which only h has a route to; nobody answers for them.
. /test/lib.sh
. /root/fuzz/settings

# The kernel's log is read as a whole, but must not go to the serial line.
dmesg -n 1

for ns in c h s m; do
    namespace "$ns"
done
wire c eth0 10.1.0.2 fd01::2 h eth0 10.1.0.1 fd01::1
wire h eth1 10.10.0.254 fd10::fe s eth0 10.10.0.253 fd10::fd
ip -n h addr add 10.1.0.5/24 dev eth0
ip -n h addr add fd01::5/64 dev eth0 nodad
# A fixed address where packets are sent to from below, and neighbours that need no resolving.
ip -n h link set eth0 address 02:00:00:00:00:01
ip -n h link set eth1 address 02:00:00:00:00:01
ip -n c link set eth0 address 02:00:00:00:00:02
ip -n s link set eth0 address 02:00:00:00:00:02
for address in 10.1.0.2 fd01::2; do ip -n h neigh replace "$address" lladdr 02:00:00:00:00:02 dev eth0; done
for address in 10.10.0.1 10.10.0.2 10.10.0.3 10.10.0.253 fd10::1 fd10::2 fd10::3 fd10::fd; do
    ip -n h neigh replace "$address" lladdr 02:00:00:00:00:02 dev eth1
done
for address in 10.1.0.1 fd01::1; do ip -n c neigh replace "$address" lladdr 02:00:00:00:00:01 dev eth0; done
ip -n h route add 10.9.0.0/16 via 10.1.0.2
ip -n h -6 route add fd09::/64 via fd01::2
# Whatever else a ruleset speaks of is behind the host.
ip -n h route add default via 10.10.0.253
# Silent: nobody in c and s answers what is not for them.
ip -n m addr add 10.9.255.1/32 dev lo
ip -n m addr add fd09::ffff:1/128 dev lo nodad
ip netns exec h sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0 \
    net.ipv4.conf.eth1.rp_filter=0 net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0 net.ipv4.conf.all.send_redirects=0 \
    net.ipv4.conf.eth0.send_redirects=0 net.ipv4.conf.eth1.send_redirects=0
sysctl -qw net.ipv4.icmp_msgs_per_sec=1000000 net.ipv4.icmp_msgs_burst=1000000 2>/dev/null
# Loaded before pathtrace starts, as what goes through a table before its module is watched is not told.
modprobe -qa ip_tables ip6_tables nf_log_syslog nf_conntrack xt_TRACE xt_LOG xt_set ip_set_hash_ip nf_tables nfnetlink_log nft_compat nf_reject_ipv4 nf_reject_ipv6 \
    nft_reject_ipv4 nft_reject_ipv6 nft_reject_inet nft_queue nft_nat nft_masq nft_redir nft_objref nft_fwd_netdev
sysctl -qw net.netfilter.nf_log_all_netns=1
# pathtrace runs these for the text of rules, which isn't compared here, after each change of a ruleset: half of the time of a run.
rm -f /usr/sbin/ip*tables-*-save

session() {
    version=$1 host=$2
    [ -s "/root/fuzz/plan$version" ] || return 0
    out=/artifacts/v$version
    mkdir -p "$out"
    player kmsg >"$out/kmsg" &
    kmsg=$!
    nftrace=
    if [ "$backend" != legacy ]; then
        player nftrace h >"$out/nftrace" &
        nftrace=$!
    fi
    mkfifo /tmp/ready
    # shellcheck disable=SC2086,SC2154
    (cd / && exec traffic unignore pathtrace $arguments --json --all-packets --host "$host" --ready-fd 9 >"$out/stdout.jsonl" 2>"$out/stderr" 9>/tmp/ready) &
    pathtrace=$!
    said=$(timeout 60 dd bs=64 count=1 if=/tmp/ready 2>/dev/null | wc -c)
    rm /tmp/ready
    if [ "$said" -eq 0 ]; then
        cat "$out/stderr"
        return 1
    fi
    loads=
    if [ "$load" = 1 ]; then
        if [ "$version" = 4 ]; then there=10.1.0.1 back=10.1.0.2 through=10.10.0.1; else there=fd01::1 back=fd01::2 through=fd10::1; fi
        player load c $there 9 &
        loads=$!
        player load h $back 9 &
        loads="$loads $!"
        player load h $through 9 &
        loads="$loads $!"
    fi
    player play "/root/fuzz/plan$version" "$out/stdout.jsonl" "$out/log" 2>"$out/errors" || echo "player: status $?"
    # shellcheck disable=SC2086
    [ -z "$loads" ] || kill $loads
    kill -INT "$pathtrace"
    wait "$pathtrace"
    echo "$?" >"$out/status"
    sleep 0.3
    # shellcheck disable=SC2086
    kill "$kmsg" $nftrace
    wait
    save "v$version"
    rm -r "$out"
}

# sets FAMILY PREFIX...
sets() {
    ip netns exec h ipset create "some$1" hash:net family "$2"
    ip netns exec h ipset create "seen$1" hash:ip family "$2" maxelem 100000
    for prefix in $3; do
        ip netns exec h ipset add "some$1" "$prefix"
    done
}

sets 4 inet '10.9.0.0/30 10.9.64.0/20 10.10.0.1'
sets 6 inet6 'fd09::/126 fd10::1'
session 4 10.9.0.0/16 || exit 1
session 6 fd09::/64 || exit 1
