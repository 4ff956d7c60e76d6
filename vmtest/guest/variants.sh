# SPDX-License-Identifier: GPL-2.0
# Runs the compiled scenarios in /test/variants, each in a shell of its own, and tells the host of each.
. /test/lib.sh

cd /test/variants || exit
for name in *; do
    printf '\036BEGIN %s\n' "$name"
    mkdir -p "/artifacts/$name"
    dmesg -c >/dev/null
    read -r began rest </proc/uptime
    # The disk has the scripts, too: a failure is easier to read beside what was run.
    cp "$name" "/artifacts/$name/script"
    timeout -s KILL 150 dash "$name" >"/artifacts/$name/log" 2>&1
    status=$?
    read -r ended rest </proc/uptime
    clean_up >/dev/null 2>&1
    dmesg -c >"/artifacts/$name/dmesg"
    save "$name"
    rm -rf "/artifacts/$name"
    printf '\036END %s %d %s %s\n' "$name" "$status" "$began" "$ended"
done
