# What pathtrace must leave as it was. Counters and the like, which change by themselves, are left out.

# state NAME: into the folder NAME of this variant's artifacts
state() {
    to=$dir/$1
    mkdir -p "$to"
    rulesets "$to"
    ip netns list | sort >"$to/netns"
    # Namespaces somebody is in, named or not.
    ls -l /proc/[0-9]*/ns/net 2>/dev/null | sed 's/.*-> //' | sort -u >"$to/netns-in-use"
    for ns in - $namespaces; do
        enter=
        [ "$ns" = - ] || enter="ip netns exec $ns"
        $enter grep -rs '' /proc/sys/net | grep -v -e nf_conntrack_count -e tcp_fastopen_key >"$to/sysctl.$ns"
        $enter ip -o link | sed 's/ state [A-Z]*//' >"$to/links.$ns"
    done
    cat /proc/self/mountinfo >"$to/mounts"
    find /run /tmp /etc /var /root /sys/fs/bpf /sys/kernel/tracing/instances ! -path '/tmp/work*' ! -name xtables.lock 2>/dev/null | sort >"$to/files"
    lsmod | awk 'NR > 1 { print $1 }' | sort >"$to/modules"
    bpf_state "$to"
    # The kernel frees programs a moment after their owner's end.
    if [ "$1" = after ]; then
        for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do
            cmp -s "$dir/before/bpf" "$to/bpf" && break
            sleep 0.2
            bpf_state "$to"
        done
    fi
}

bpf_state() {
    for kind in prog map link; do
        # Ids and addresses differ from one moment to the next: the kind, the type and the name count.
        bpftool "$kind" list | sed -n "s/^[0-9]*: \([a-z_0-9]*\( *name [^ ]*\)\{0,1\}\).*/$kind \1/p"
    done | sort >"$1/bpf"
}

# Only of the backend in use: to look at the others can load them.
rulesets() {
    for ns in $namespaces; do
        case $backend in
        iptables-legacy) ip netns exec "$ns" "$(save_command legacy)" ;;
        iptables-nft | nftables) ip netns exec "$ns" nft -s list ruleset ;;
        esac 2>&1 | sed -e '/^#/d' -e 's/\[[0-9]*:[0-9]*\]//' >"$1/ruleset.$ns"
    done
}

save_command() {
    case $family in
    ipv6) echo "ip6tables-$1-save" ;;
    *) echo "iptables-$1-save" ;;
    esac
}
