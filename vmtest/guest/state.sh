# SPDX-License-Identifier: GPL-2.0
# What pathtrace must leave as it was. check.py knows which of it changes by itself.

# state NAME [all]: into the folder NAME of this variant's artifacts. Reading all sysctls and asking bpftool takes longer than all else.
state() {
    to=$dir/$1
    mkdir -p "$to"
    if [ "$2" = all ]; then ruled=$namespaces; fi
    rulesets "$to"
    # Namespaces somebody is in, named or not; the named ones are among the files.
    ls -l /proc/[0-9]*/ns/net >"$to/netns-in-use" 2>/dev/null
    for ns in - $namespaces; do
        [ "$2" != all ] || in_namespace "$ns" grep -rs '' /proc/sys/net >"$to/sysctl.$ns"
        # of ip_tables, ip6_tables, arp_tables: to ask for a table with a tool would make it
        in_namespace "$ns" grep -s '' /proc/self/net/ip_tables_names /proc/self/net/ip6_tables_names /proc/self/net/arp_tables_names >"$to/tables.$ns"
    done
    for ns in $namespaces; do
        ip -n "$ns" -o link >"$to/links.$ns"
    done
    ip -o link >"$to/links.-"
    cat /proc/self/mountinfo >"$to/mounts"
    find /run /tmp /etc /var /root /sys/fs/bpf /sys/kernel/tracing/instances ! -path '/tmp/work*' ! -name xtables.lock >"$to/files" 2>/dev/null
    cat /proc/modules >"$to/modules"
    bpf_state "$1"
    [ "$2" != all ] || obstacle key >"$to/trace-key" || problem "state $1: obstacle key: status $?"
    # The kernel frees programs a moment after their owner's end.
    if [ "$1" = after ]; then
        tries=0
        until cmp -s "$dir/before/bpf" "$to/bpf" || [ $((tries += 1)) -gt 25 ]; do
            sleep 0.2
            bpf_state "$1"
        done
        # Nor does a namespace end at once.
        tries=0
        until [ "$2" != all ] || cmp -s "$dir/before/trace-key" "$to/trace-key" || [ $((tries += 1)) -gt 25 ]; do
            sleep 0.2
            obstacle key >"$to/trace-key"
        done
    fi
    [ "$2" != all ] || bpftool_state "$1"
}

# in_namespace NS COMMAND…: - is the root's
in_namespace() {
    if [ "$1" = - ]; then
        shift
        "$@"
    else
        where=$1
        shift
        nsenter --net="/run/netns/$where" "$@"
    fi
}

# bpf_state NAME: the BPF objects alone; taken `during` the trace, too, to show that it sees them
bpf_state() {
    mkdir -p "$dir/$1"
    obstacle objects >"$dir/$1/bpf" || problem "state $1: obstacle objects: status $?"
}

# The same, as an administrator would look. Ids and addresses differ from one moment to the next: the kind, the type and the name count.
bpftool_state() {
    for kind in prog map link; do
        bpftool "$kind" list >"$work/bpftool" 2>&1 || problem "state $1: bpftool $kind list: $(head -c 300 "$work/bpftool")"
        sed -n "s/^[0-9]*: \([a-z_0-9]*\( *name [^ ]*\)\{0,1\}\).*/$kind \1/p" "$work/bpftool"
    done >"$dir/$1/bpftool"
}

# Only of what is loaded, and of iptables the backend in use: to look at the other would load it. iptables-nft says in its own words what
# nft lists, too: the words of its rules. $ruled: the namespaces in which the variant runs anything, all where all of the state is asked for;
# each list takes a twentieth of a variant's time.
rulesets() {
    if [ -d /sys/module/nf_tables ]; then
        nft -s list ruleset >"$1/nft.-" 2>&1
        for ns in $ruled; do
            nsenter --net="/run/netns/$ns" nft -s list ruleset >"$1/nft.$ns" 2>&1
        done
    fi
    if [ "${backend#iptables-}" != "$backend" ]; then
        if [ "$family" = ipv6 ]; then save=ip6tables-${backend#iptables-}-save; else save=$backend-save; fi
        for ns in $ruled; do
            nsenter --net="/run/netns/$ns" $save >"$1/iptables.$ns" 2>&1
        done
    fi
}
