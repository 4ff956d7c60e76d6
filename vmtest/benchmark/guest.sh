# SPDX-License-Identifier: GPL-2.0
# What the benchmark does in the VM, for dash. The plan (plan.py) is a list of calls of `base`, `traced`, … below.
#
# Every subject is measured in a fresh network namespace: what one leaves (a raw table, a log backend) must not be paid by the next.
# What is found goes to the host: FIGURE BACKEND RULES SUBJECT MEASURE VALUE, and so on.
# A subject called NAME+reader was measured while the process that reads what the kernel reports had its turns on the same CPU, and the
# mean of the rounds counts; without +reader it was stopped, or there is none, and the least counts.

report() {
    printf '\036%s\n' "$*"
}

# at SUBJECT: what follows is about it
at() {
    where="$backend $rules $1"
    report AT "$where"
}

# figures MEASURE, from standard input: `name value` or `name least mean` lines
figures() {
    while read -r name value mean; do
        case $where in *+reader) value=${mean:-$value} ;; esac
        report FIGURE "$where" "$1.$name" "$value"
    done
}

# measured MEASURE LOAD-ARGUMENT…
measured() {
    measure=$1
    shift
    case $where in *+reader) settle ;; esac # it still reads what the load before left
    ip netns exec bench load "$@" >/tmp/said || die "load $*"
    figures "$measure" </tmp/said
}

# Until hardly anything but the idle task has run for two seconds.
settle() {
    tries=0
    quiet=0
    until [ "$quiet" = 2 ] || [ $((tries += 1)) -gt 200 ]; do
        read -r _ idle </proc/uptime
        sleep 1
        read -r _ idle_now </proc/uptime
        # hundredths of a second
        if [ $((${idle_now%.*}${idle_now#*.} - ${idle%.*}${idle#*.})) -ge 90 ]; then quiet=$((quiet + 1)); else quiet=0; fi
    done
}

# Namespaces and rules

# fresh BACKEND RULES: the namespace `bench`; all but the last rule name other addresses, the last accepts
fresh() {
    backend=$1
    rules=$2
    ip netns del bench 2>/dev/null
    namespace bench
    [ "$backend" = none ] || ip netns exec bench "iptables-$backend-restore" <"/test/rules.$rules" || die "$rules rules, $backend"
}

# One process's rule in a namespace that no packet passes turns the trace key on; see user/kernel/trace_key.cpp.
key_on() {
    namespace key
    ip netns exec key nft -f - <<END || die "trace key"
add table ip key
add chain ip key key
add rule ip key key meta nftrace set 1
END
}

# Loads. udp, tcp and data are made of the same packets for every subject.

# unmatched PACKETS ROUNDS
unmatched() {
    measured udp_unmatched udp 9 "$1" "$2"
}

# matched PACKETS ROUNDS
matched() {
    measured udp_matched udp 80 "$1" "$2"
    counted udp_matched $(($1 * $2))
}

# connections COUNT ROUNDS
connections() {
    measured tcp_unmatched connect 81 "$1" "$2"
    measured tcp_matched connect 80 "$1" "$2"
    counted tcp_matched $(($1 * $2))
}

# data COUNT ROUNDS
data() {
    measured tcp_data stream 80 64 "$1" "$2"
    counted tcp_data $(($1 * $2))
    measured tcp_bulk stream 80 65536 "$(($1 / 5))" "$2"
    counted tcp_bulk $(($1 / 5 * $2))
}

# counted MEASURE REPEATED: pathtrace's events of the load before, while it is stopped; then it reads them: `user` is what it spends on one repetition
counted() {
    [ -n "$stopped" ] || return 0
    load ring >/tmp/said || die 'ring'
    figures "$1" </tmp/said
    ran_before=$(cpu_time)
    release_reader
    hold_reader
    ran=$(($(cpu_time) - ran_before))
    report FIGURE "$where" "$1.read" "$ran"
    report FIGURE "$where" "$1.user" "$((ran / $2))"
}

# The reader's whole session; it is stopped a moment after the signal.
hold_reader() {
    kill -STOP "-$reader"
    until grep -q '^State:.T' "/proc/$reader/status"; do sleep 0.1; done
}

release_reader() {
    kill -CONT "-$reader"
    settle
}

# Nanoseconds of CPU time, that is instructions, of all threads of the reader.
cpu_time() {
    cat "/proc/$reader/task/"*/schedstat | {
        sum=0
        while read -r ran rest; do sum=$((sum + ran)); done
        echo "$sum"
    }
}

# The sets of loads: SET is `none`, `unmatched`, `packets` (matched too) or `all`; the numbers are of the plan.
loads() {
    [ "$1" != none ] || return 0
    unmatched "$packets" "$rounds"
    [ "$1" = unmatched ] || matched "$packets" "$rounds"
    [ "$1" != all ] || { connections "$connections" "$rounds" && data "$segments" "$rounds"; }
}

# Subjects. Each: BACKEND RULES SET …

base() {
    fresh "$1" "$2"
    at base
    loads "$3"
}

key() {
    fresh "$1" "$2"
    key_on
    at key
    loads "$3"
    ip netns del key
}

# pathtrace BACKEND RULES SET SUBJECT ARGUMENT…
pathtrace_stopped() {
    fresh "$1" "$2"
    set=$3 subject=$4
    shift 4
    at "$subject"
    ip netns exec bench load start pathtrace --dport 80 --ready-fd 9 "$@" >/tmp/said 2>/tmp/errors || {
        cat /tmp/errors
        die 'pathtrace did not start'
    }
    reader=$(sed -n 's/^pid //p' /tmp/said)
    figures run </tmp/said
    settle
    # a table's first packet is dearer: it is found out where the counters are, and which of them a packet can raise
    ip netns exec bench load udp 80 1 1 >/dev/null || die 'the first packet'
    settle
    report MAPS "$where" "$(bpftool -j map show)"
    report PROGRAMS "$where" memory "$(bpftool -j prog show)"
    hold_reader
    stopped=1
    loads "$set"
    resident
}

# The most memory that pathtrace's process had so far.
resident() {
    sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB/resident \1/p' "/proc/$reader/status" >/tmp/said
    figures run </tmp/said
}

# pathtrace_reading SET: after pathtrace_stopped
pathtrace_reading() {
    release_reader
    stopped=
    at "$subject+reader"
    loads "$1"
    settle
    hold_reader
    stopped=1
    at "$subject"
}

# Waits until it has read everything, and for its end: nothing of it must be left in the way of the next.
pathtrace_end() {
    release_reader
    stopped=
    [ "$where" = "$backend $rules $subject" ] || resident # flooded since
    where="$backend $rules $subject"
    load stop "$reader" >/tmp/said || die 'pathtrace did not stop'
    figures run </tmp/said
    [ ! -s /tmp/errors ] || sed 's/^/pathtrace said: /' /tmp/errors
    reader=
    settle
}

# flooded COUNT: after pathtrace_stopped; that many connections are begun and never answered, then measured again
flooded() {
    ip -n bench link add dummy0 type dummy
    ip -n bench addr add 10.9.0.1/16 dev dummy0
    ip -n bench neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev dummy0 2>/dev/null
    ip -n bench link set dummy0 up
    ip -n bench neigh replace 10.9.0.2 lladdr 02:00:00:00:00:02 dev dummy0 nud permanent
    measured flood flood 10.9.0.2 80 "$1"
    counted flood "$1"
    at "$subject-$1"
    connections "$connections" "$rounds"
    data "$segments" "$rounds"
}

# burst BACKEND SIZE PACKETS: how many events a buffer of that size takes while nobody reads it
burst() {
    pathtrace_stopped "$1" 3 none "buffer-$2" --buffer "$2"
    ip netns exec bench load udp 80 "$3" 1 >/dev/null || die "a burst of $3"
    load ring >/tmp/said || die ring
    figures burst </tmp/said
    pathtrace_end
}

# programs: what each program costs a run, in four loads; an empty program on ip_rcv shows what the measuring itself costs
programs() {
    load empty ip_rcv >/tmp/empty &
    empty=$!
    sleep 1
    sysctl -qw kernel.bpf_stats_enabled=1
    while read -r name arguments; do
        report PROGRAMS "$where" "$name.before" "$(bpftool -j prog show)"
        # shellcheck disable=SC2086
        ip netns exec bench load $arguments >/dev/null || die "load $arguments"
        report PROGRAMS "$where" "$name.after" "$(bpftool -j prog show)"
        release_reader
        hold_reader
    done <<END
udp_unmatched udp 9 1000 1
udp_matched udp 80 1000 1
tcp_matched connect 80 100 1
tcp_data stream 80 64 500 1
END
    sysctl -qw kernel.bpf_stats_enabled=0
    kill "$empty"
    wait "$empty" 2>/dev/null
}

# What a user would pick instead

# trace_rules: the packets that `pathtrace --dport 80` reports
trace_rules() {
    for chain in PREROUTING OUTPUT; do
        ip netns exec bench "iptables-$backend" -t raw -A $chain -p udp --dport 80 -j TRACE &&
            ip netns exec bench "iptables-$backend" -t raw -A $chain -p tcp -m multiport --ports 80 -j TRACE || die TRACE
    done
}

trace_log() {
    fresh "$1" "$2"
    modprobe nf_log_syslog || modprobe nf_log_ipv4
    sysctl -qw net.netfilter.nf_log_all_netns=1
    ip netns exec bench sysctl -qw net.netfilter.nf_log.2=nf_log_ipv4 || die nf_log
    trace_rules
    at trace-log
    loads "$3"
}

trace_nflog() {
    fresh "$1" "$2"
    modprobe nfnetlink_log
    ip netns exec bench load nflog 0 >/tmp/nflog &
    reader=$!
    until grep -q READY /tmp/nflog; do sleep 0.1; done
    ip netns exec bench sysctl -qw net.netfilter.nf_log.2=nfnetlink_log || die nf_log
    trace_rules
    at trace-nflog+reader
    loads "$3"
    end_reader
}

nft_monitor() {
    fresh "$1" "$2"
    trace_rules
    ip netns exec bench nft monitor trace >/dev/null &
    reader=$!
    settle
    at nft-monitor+reader
    loads "$3"
    end_reader
}

# tool BACKEND RULES SET SUBJECT COMMAND: any tracer; COMMAND traces port 80. It is taken to be ready when it is quiet.
# (By its path, as busybox's setsid would run busybox's own ip.)
tool() {
    fresh "$1" "$2"
    set=$3 subject=$4
    at "$subject"
    setsid /usr/bin/ip netns exec bench dash -c "exec $5" >"/tmp/$subject" 2>&1 &
    reader=$!
    sleep 1
    settle
    kill -0 "$reader" 2>/dev/null || {
        report SKIP "$where" "$(tail -n 1 "/tmp/$subject")"
        return 0
    }
    hold_reader
    loads "$set"
    release_reader
    at "$subject+reader"
    loads "$set"
    kill -INT "-$reader"
    end_reader
}

end_reader() {
    (sleep 30 && kill -KILL "$reader") 2>/dev/null &
    watchdog=$!
    kill -TERM "$reader" 2>/dev/null
    wait "$reader" 2>/dev/null
    kill "$watchdog" 2>/dev/null
    reader=
    settle
}

. /test/lib.sh
stopped=
reader=
# Nothing of the kernel's log is to be written to a serial line.
dmesg -n 1
# One CPU runs: what another does would be counted, too. It stays possible.
[ ! -e /sys/devices/system/cpu/cpu1/online ] || echo 0 >/sys/devices/system/cpu/cpu1/online || die 'CPU 1 stays online'
read -r possible </sys/devices/system/cpu/possible
report CPUS $((${possible#*-} + 1))
