#!/bin/sh
# Runs one script of a replica and outlives nobody: leader of the replica's session and process group.
#
#   keeper.sh SHELL SCRIPT [DATA_KIB] [CGROUP_PROCS]      with a pipe at descriptor 3 whose other end only the agent holds
#
# DATA_KIB bounds the data of each process (RLIMIT_DATA), CGROUP_PROCS names the control group to run in.
# It exits as the script does (128+n for a signal). When the pipe closes, the agent has died in whatever way: the whole group
# is ended, and on Linux whatever left the group but still carries the replica's name in its environment.
shell=$1
script=$2
leader=$$

[ -z "${4-}" ] || echo "$leader" > "$4" || echo "[fairlead] its limits could not be applied: $4 cannot be written" >&2
[ -z "${3-}" ] || ulimit -d "$3"
# Without memory the kernel takes a replica before the agent, whose unit has -500 (systemd: OOMScoreAdjust). Rising is allowed to all.
{ echo 500 > /proc/self/oom_score_adj; } 2>/dev/null

# Signals what has left this group. A replica's name alone is not enough: another agent's may be called the same.
signal_strays() {
  [ -r /proc/self/environ ] || return 0
  for file in $(grep -lszxF -e "FAIRLEAD_REPLICA=$FAIRLEAD_REPLICA" /proc/[0-9]*/environ); do
    grep -qszxF -e "FAIRLEAD_STATE=$FAIRLEAD_STATE" "$file" || continue
    pid=${file#/proc/}
    pid=${pid%/environ}
    stat=
    { read -r stat < "/proc/$pid/stat"; } 2>/dev/null
    # state, parent and process group follow the name, which is in brackets and may hold anything
    set -- "$1" ${stat##*) }
    [ "$4" = "$leader" ] || kill -s "$1" "$pid" 2>/dev/null
  done
}

(
  trap '' TERM INT HUP QUIT
  read -r _ <&3
  # first of all: the leader must leave this watch alive when it exits
  kill -s USR1 "$leader"
  kill -s TERM 0
  signal_strays TERM
  sleep 2
  signal_strays KILL
  kill -s KILL 0
) &
watch=$!

# The script is in the foreground: a signal to the group reaches it, and this shell waits for its end whatever it does.
orphaned=
trap 'orphaned=1' USR1
trap : TERM INT HUP QUIT
"$shell" "$script" 3<&-
status=$?
[ -n "$orphaned" ] || { kill -s KILL "$watch"; wait "$watch"; } 2>/dev/null
exit "$status"
