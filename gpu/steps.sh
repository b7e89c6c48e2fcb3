# shellcheck shell=bash
# Steps of a stage: each with its own time limit and log, its outcome noted at once and everything noted so far published. Sourced
# by run.sh, which sets STATE (notes and logs, kept between stages), OUT (what is taken home), KIT (the unpacked kit), STAGE_END and AT_ONCE.

# Seconds since 1970.
now() { date +%s; }

# Seconds that are left of the stage.
left() { echo $((STAGE_END - $(now))); }

# note STEP OUTCOME EXIT_STATUS SECONDS LIMIT: one line of steps.jsonl. All five are words or numbers of ours, so nothing is escaped.
note() {
    printf '{"stage":"%s","step":"%s","outcome":"%s","status":%d,"seconds":%d,"limit":%d}\n' \
        "$STAGE" "$1" "$2" "$3" "$4" "$5" >>"$STATE/steps.jsonl"
}

# What a person sees while it runs.
say() { printf '%s\n' "$*" >&2; }

# outcome_of EXIT_STATUS: `timeout` answers 124 and 137 for a command that it ended, which is no failure where TIME_IS_ENOUGH.
outcome_of() {
    case $1 in
    0) echo passed ;;
    124 | 137) [[ -n ${TIME_IS_ENOUGH:-} ]] && echo stopped || echo 'timed out' ;;
    *) echo failed ;;
    esac
}

# The report of all steps so far, and their logs, into OUT: written aside and renamed, so that a cut leaves the last whole one.
publish() {
    "$KIT/bin/xtask" gpu report --state "$STATE" --out "$OUT" >>"$STATE/report.log" 2>&1 || say "the report failed: $STATE/report.log"
    tar -czf "$OUT/.state.tar.gz" -C "$(dirname "$STATE")" "$(basename "$STATE")" && mv "$OUT/.state.tar.gz" "$OUT/state.tar.gz"
}

# step NAME LIMIT COMMAND…: runs a command for LIMIT seconds at most, or for what is left of the stage; its exit status is the step's.
step() {
    local name=$1 limit=$2 started status=0 log="$STATE/logs/$STAGE-$1.log"
    shift 2
    [[ $(left) -lt $limit ]] && limit=$(left)
    if [[ $limit -lt 3 ]]; then
        say "  $name: left out, the stage's time is over"
        note "$name" 'left out' 0 0 0
        return 0
    fi
    say "  $name (at most $limit s): $*"
    started=$(now)
    # The log of what is running lies in OUT, where it survives an end without warning.
    printf '$ %s\n' "$*" >"$OUT/running.log"
    timeout --kill-after="${KILL_AFTER:-8}" "$limit" "$@" >>"$OUT/running.log" 2>&1 &
    RUNNING=$!
    # `wait` returns early where a signal is handled; the command is waited for again then.
    while :; do
        status=0
        wait "$RUNNING" || status=$?
        kill -0 "$RUNNING" 2>/dev/null || break
    done
    RUNNING=
    mv "$OUT/running.log" "$log"
    note "$name" "$(outcome_of "$status")" "$status" $(($(now) - started)) "$limit"
    say "  $name: $(outcome_of "$status") after $(($(now) - started)) s"
    publish
    return "$status"
}

# job NAME LIMIT COMMAND…: a step beside others where AT_ONCE, one after the other elsewhere; `join` waits for all.
job() {
    local name=$1 limit=$2 status=0
    if [[ -z $AT_ONCE ]]; then
        step "$@" || status=$?
        [[ $status -le $WORST ]] || WORST=$status
        return
    fi
    shift 2
    [[ $(left) -lt $limit ]] && limit=$(left)
    if [[ $limit -lt 3 ]]; then
        say "  $name: left out, the stage's time is over"
        note "$name" 'left out' 0 0 0
        return
    fi
    say "  $name (at most $limit s, beside others): $*"
    printf '$ %s\n' "$*" >"$STATE/logs/$STAGE-$name.log"
    timeout --kill-after=8 "$limit" "$@" >>"$STATE/logs/$STAGE-$name.log" 2>&1 &
    JOBS+=($!)
    JOB_NAMES+=("$name")
    JOB_LIMITS+=("$limit")
    RUNNING="${JOBS[*]}"
}

# Waits for all jobs, in the order in which they began, and notes each; the worst exit status is the answer.
join() {
    local i status started
    started=$JOBS_BEGAN
    for i in "${!JOBS[@]}"; do
        status=0
        wait "${JOBS[$i]}" || status=$?
        note "${JOB_NAMES[$i]}" "$(outcome_of "$status")" "$status" $(($(now) - started)) "${JOB_LIMITS[$i]}"
        say "  ${JOB_NAMES[$i]}: $(outcome_of "$status") within $(($(now) - started)) s"
        [[ $status -le $WORST ]] || WORST=$status
        publish
    done
    RUNNING=
    return "$WORST"
}

# Begins a group of jobs.
jobs_begin() {
    JOBS=() JOB_NAMES=() JOB_LIMITS=() WORST=0 JOBS_BEGAN=$(now)
}

# A wish to stop: the running command is ended, with a quarter of a minute to save what it has, and all there is so far is published.
cut_short() {
    local _
    trap - TERM INT HUP
    say 'cut short: publishing what there is'
    # shellcheck disable=SC2046 # several process ids
    kill -TERM $(jobs -p) 2>/dev/null
    if [[ -n ${RUNNING:-} ]]; then
        for _ in {1..15}; do
            # shellcheck disable=SC2086 # several process ids
            kill -0 $RUNNING 2>/dev/null || break
            sleep 1
        done
        # `timeout` leads a group of its own: what has not ended by itself ends with it.
        # shellcheck disable=SC2046,SC2086 # several process ids
        kill -KILL -- $(printf -- '-%s ' $RUNNING) 2>/dev/null
        note running 'cut short' 143 0 0
        [[ -f $OUT/running.log ]] && cp "$OUT/running.log" "$STATE/logs/$STAGE-running.log"
    fi
    declare -F bring_back >/dev/null && bring_back
    publish
    exit 143
}
