#!/bin/bash
# Tests netmon's unit in a machine where systemd is process 1: check CHANNEL SECONDS SUCCESS
#
# Each function below "Tests" is a test. A test runs in a subshell, ends with `fail` if it fails,
# and leaves the unit running for the next test. Output goes to CHANNEL, in the form of the test
# program of Rust. The machine ends after SECONDS at the latest.
set -u
exec < /dev/null > "$1" 2>&1
(sleep "$2"; echo o > /proc/sysrq-trigger) &
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
readonly success=$3
readonly journal=/var/log/netmon
readonly package=/opt/netmon-vm/netmon.deb
readonly drop_in=/etc/systemd/system/netmon.service.d
# The connections of a test: each has two ends on this host.
readonly connections=20 ends=40
# Seconds. TimeoutStopSec= of the unit.
readonly longest_stop=75
# Tenths.
readonly most_exposed=40

fail() {
    echo "$*"
    exit 1
}

# Waits until a command succeeds: soon SECONDS COMMAND...
soon() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.5
    done
}

property() {
    systemctl show --value --property "$1" netmon
}

# Prints the number of lines of that type in the history: count TYPE [FILTER]
count() {
    local type=$1
    shift
    netmon history --journal "$journal" --json "$@" 2> /dev/null | grep -c "\"type\":\"$type\""
}

has() {
    (("$(count "${@:2}")" >= $1))
}

segments() {
    find "$journal" -path '*/events/*' -name '*.parquet' | wc -l
}

has_segments() {
    (($(segments) >= $1))
}

is_active() {
    [ "$(property ActiveState)" = active ]
}

log() {
    journalctl --unit netmon --no-pager --output cat --lines 20
}

connect() {
    local number
    for ((number = 0; number < connections; number++)); do
        exec 3<> /dev/tcp/127.0.0.1/7001 || fail "the listener has gone"
        exec 3>&-
    done
}

# Makes connections, and waits until the journal has them beside older ones.
are_recorded() {
    local before
    before=$(count closed 'port = :7001')
    connect
    soon 30 has $((before + ends)) closed 'port = :7001' ||
        fail "before $before, now $(count closed 'port = :7001'); $(log)"
}

# Tests

the_unit_starts() {
    systemctl start netmon || fail "$(log)"
    is_active || fail "$(systemctl status --no-pager netmon)"
    [ "$(property Type)" = notify ] || fail "Type=$(property Type)"
}

connections_are_in_the_journal() {
    are_recorded
    has "$connections" closed 'port = :7001 and comm = bash' || fail "no process bash"
    (exec 3<> /dev/tcp/127.0.0.1/9) 2> /dev/null
    soon 30 has 1 closed 'verdict = refused and dport = :9' || fail "no refused connect"
}

# Prints the first line of the history that the filter has, if there is one.
shown() {
    netmon history --journal "$journal" --json "$1" 2> /dev/null | head -n 1
}

a_unit_that_has_ended_is_in_the_history() {
    local filter='unit = netmon-scene.service and exe = /usr/bin/bash and args ~ 7001'
    # systemd-run needs D-Bus, which the machine lacks.
    printf '[Service]\nType=oneshot\nExecStart=/bin/bash -c "exec 3<> /dev/tcp/127.0.0.1/7001"\n' \
        > /run/systemd/system/netmon-scene.service
    systemctl daemon-reload
    systemctl start netmon-scene || fail "$(systemctl status --no-pager netmon-scene)"
    rm /run/systemd/system/netmon-scene.service
    systemctl daemon-reload
    soon 30 has 1 closed "$filter" || fail "$(shown 'args ~ 7001'); $(log)"
    shown "$filter"
}

# A container of runc, in the cgroup that Docker would give it.
a_container_has_the_name_of_its_engines_file() {
    local id files bundle=/run/netmon-scene filter='container = web and exe = /usr/bin/bash'
    id=$(printf '%064d' 7)
    files=/var/lib/docker/containers/$id
    mkdir -p "$files" "$bundle/rootfs"
    echo '{"Name":"/web"}' > "$files/config.v2.json"
    mount --bind / "$bundle/rootfs"
    runc spec --bundle "$bundle" || fail "runc makes no config.json"
    # Without a network namespace, the container has that of the host, as `docker --network host`.
    sed -zi "s|\"terminal\": true|\"terminal\": false|
        s|\"sh\"|\"/bin/bash\", \"-c\", \"sleep 1; exec 3<> /dev/tcp/127.0.0.1/7001\"|
        s|\"linux\": {|\"linux\": { \"cgroupsPath\": \"/docker/$id\",|
        s|{[^{}]*\"type\": \"network\"[^{}]*},||" "$bundle/config.json"
    # The root file system of this machine cannot be pivoted.
    runc run --no-pivot --bundle "$bundle" netmon-scene || fail "the container has failed"
    umount "$bundle/rootfs" || fail "the container still has the root directory"
    rm -r "$bundle" /var/lib/docker
    soon 30 has 1 closed "$filter" || fail "$(shown 'args ~ 7001'); $(log)"
    shown "$filter"
}

other_namespaces_are_in_the_journal() {
    # Begun before the unit, in a network namespace of its own.
    local rows
    rows=$(netmon snapshot --journal "$journal" --at '1s ago' -ltn --json --netns all)
    grep -q '"local_port":7002,.*"state":"LISTEN"' <<< "$rows" || fail "$rows"
}

status_has_a_line_of_netmon() {
    systemctl status --no-pager netmon |
        grep -Eq 'Status: "[1-9][0-9]* events recorded, 0 not, [0-9]+ segments done"'
}

the_status_is_netmons_own_line() {
    soon 40 status_has_a_line_of_netmon || fail "$(systemctl status --no-pager netmon)"
}

# Another netmon looks for half a minute around the time at which the recorder opens its listener,
# once a minute. That netmon has its own listener a minute after it has begun. A busy host may stop
# an emulated machine for a while, so that one look proves nothing.
the_heartbeat_beats() {
    local began now seen pid
    pid=$(property MainPID)
    began=$(($(property ActiveEnterTimestampMonotonic) / 1000000))
    for _ in 1 2 3; do
        now=$(cut -d . -f 1 /proc/uptime)
        sleep $(((100 - (now - began) % 60) % 60))
        seen=$(timeout 90 netmon watch --json --duration 35s 'comm = netmon')
        if grep -q "\"new_state\":\"LISTEN\".*\"pid\":$pid," <<< "$seen"; then
            log | grep 'cannot listen' && exit 1
            ! log | grep 'attached again'
            return
        fi
    done
    fail "$seen; $(log)"
}

reload_closes_a_segment() {
    local before
    before=$(segments)
    systemctl reload netmon || fail "$(log)"
    soon 60 has_segments $((before + 1)) || fail "$before before, and no more after"
    is_active || fail "$(log)"
}

is_another_process() {
    is_active && [ "$(property MainPID)" != "$1" ]
}

a_killed_recorder_comes_back_and_has_a_gap() {
    local pid gaps
    pid=$(property MainPID)
    gaps=$(count gap)
    kill -9 "$pid"
    soon 90 is_another_process "$pid" || fail "$(systemctl status --no-pager netmon)"
    are_recorded
    has $((gaps + 1)) gap || fail "$gaps gaps before, and no more after"
    echo "$(count gap) gaps"
}

the_unit_stops_in_time_and_leaves_parquet() {
    local began=$SECONDS left
    systemctl stop netmon || fail "$(log)"
    ((SECONDS - began < longest_stop)) || fail "$((SECONDS - began)) s"
    [ "$(property Result)" = success ] || fail "Result=$(property Result)"
    left=$(find "$journal/_live" -type f ! -name lock)
    [ -z "$left" ] || fail "$left"
    systemctl start netmon || fail "$(log)"
}

the_unit_is_little_exposed() {
    local report
    report=$(systemd-analyze security --no-pager --threshold=$most_exposed netmon) ||
        fail "$report"
    echo "${report##*$'\n'}"
}

is_owned_by() {
    [ "$(stat -c %U:%G "$journal")" = "$1" ]
}

another_user_records_as_well() {
    useradd --system --no-create-home netmon
    mkdir -p "$drop_in"
    printf '[Service]\nUser=netmon\n' > "$drop_in/user.conf"
    systemctl daemon-reload
    systemctl restart netmon || fail "$(log)"
    grep -q "^Uid:.$(id -u netmon)" "/proc/$(property MainPID)/status" || fail "not netmon's"
    is_owned_by netmon:adm || fail "$(stat "$journal")"
    are_recorded
    other_namespaces_are_in_the_journal
    reload_closes_a_segment
    systemctl stop netmon || fail "$(log)"
    rm "$drop_in/user.conf"
    rmdir "$drop_in"
    userdel netmon
    systemctl daemon-reload
    systemctl start netmon || fail "$(log)"
    is_owned_by root:adm || fail "$(stat "$journal")"
}

# A package of a higher version is the same one with another number.
an_upgrade_keeps_the_journal() {
    local version before old newer=/tmp/netmon
    version=99:$(dpkg-deb --field "$package" Version)
    before=$(count closed)
    old=$(property MainPID)
    dpkg-deb --raw-extract "$package" "$newer"
    sed -i "s/^Version: .*/Version: $version/" "$newer/DEBIAN/control"
    dpkg-deb -Znone --build "$newer" "$newer.deb" || fail "no package"
    dpkg --install "$newer.deb" || fail "dpkg"
    [ "$(dpkg-query --show --showformat '${Version}' netmon)" = "$version" ] || fail "the version"
    soon 60 is_active || fail "$(log)"
    [ "$(property MainPID)" != "$old" ] || fail "the old program still runs, as $old"
    has "$before" closed || fail "$before connections before, now $(count closed)"
    are_recorded
}

installed_files() {
    find /etc /usr /opt /lib/systemd /var/lib/systemd -not -type d -not -name '*.cache' | sort
}

a_purge_leaves_journals_and_names_them() {
    local output left
    output=$(dpkg --purge netmon 2>&1) || fail "$output"
    grep -q "$journal" <<< "$output" || fail "nothing of $journal: $output"
    left=$(installed_files | diff /run/files-before -) || fail "$left"
    find "$journal" -name '*.parquet' | grep -q . || fail "the journal has gone"
    ! systemctl is-active netmon
}

# The machine

perl -MIO::Socket::INET -e '
    $listener = IO::Socket::INET->new(Listen => 50, LocalAddr => "127.0.0.1:7001") or die;
    close $_ while $_ = $listener->accept' &
unshare --net perl -MIO::Socket::INET -e '
    $listener = IO::Socket::INET->new(Listen => 50, LocalAddr => "0.0.0.0:7002") or die;
    sleep' &

tests=(the_unit_starts connections_are_in_the_journal a_unit_that_has_ended_is_in_the_history
    a_container_has_the_name_of_its_engines_file other_namespaces_are_in_the_journal
    the_status_is_netmons_own_line the_heartbeat_beats reload_closes_a_segment
    a_killed_recorder_comes_back_and_has_a_gap the_unit_stops_in_time_and_leaves_parquet
    the_unit_is_little_exposed another_user_records_as_well)
if [ -e "$package" ]; then
    installed_files > /run/files-before
    dpkg --install "$package" || echo "dpkg refuses the package"
    tests+=(an_upgrade_keeps_the_journal a_purge_leaves_journals_and_names_them)
fi
failed=0
for test in "${tests[@]}"; do
    began=$SECONDS
    if output=$("$test" 2>&1); then
        echo "test systemd::$test ... ok <$((SECONDS - began))s>"
    else
        echo "test systemd::$test ... FAILED"
        failed=$((failed + 1))
    fi
    [ -z "$output" ] || echo "$output"
done
[ "$failed" -gt 0 ] || echo "$success"
# The channel may be slower than the power-off.
sleep 1
echo o > /proc/sysrq-trigger
