#!/usr/bin/env bash
# Runs one stage of the packed programs on the machine with the GPU: no cargo, no network, nothing installed. See README.md beside it.
#
#   run.sh A|B|C [--device cuda|wgpu|cpu] [--out DIR] [--work DIR] [--seconds N] [--sizes full|small] [--resume-from DIR] [--force]
#
# A: what is there, and whether the GPU computes what the processor does. B: how fast. C: training. Results so far lie in DIR after every step.
# Exit codes: 0 every step passed, 1 one failed, 2 wrong arguments, 3 stage A found the GPU wrong (--force goes on), 143 cut short.
set -u
shopt -s nullglob
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"

usage() {
    sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
STAGE=${1:-}
[[ $STAGE == [ABC] ]] || usage
shift
DEVICE=cuda OUT=$PWD/gpu-results WORK=${TMPDIR:-/tmp}/tokenunify-gpu SECONDS_GIVEN='' SIZES='' RESUME_FROM='' FORCE=''
while [[ $# -gt 0 ]]; do
    [[ $1 == --force || $# -ge 2 ]] || usage
    case $1 in
    --device) DEVICE=$2 && shift ;;
    --out) OUT=$2 && shift ;;
    --work) WORK=$2 && shift ;;
    --seconds) SECONDS_GIVEN=$2 && shift ;;
    --sizes) SIZES=$2 && shift ;;
    --resume-from) RESUME_FROM=$2 && shift ;;
    --force) FORCE=yes ;;
    *) usage ;;
    esac
    shift
done
[[ $DEVICE == cuda || $DEVICE == wgpu || $DEVICE == cpu ]] || usage
[[ -n $SIZES ]] || { [[ $DEVICE == cuda ]] && SIZES=full || SIZES=small; }
[[ $SIZES == full || $SIZES == small ]] || usage
# A processor that stands in for a GPU takes longer, even in small sizes.
case $SIZES$STAGE in
small*) SECONDS_GIVEN=${SECONDS_GIVEN:-900} ;;
fullC) SECONDS_GIVEN=${SECONDS_GIVEN:-420} ;;
*) SECONDS_GIVEN=${SECONDS_GIVEN:-180} ;;
esac
[[ $SECONDS_GIVEN =~ ^[0-9]+$ ]] || usage

mkdir -p "$OUT" "$WORK" || exit 2
OUT=$(cd "$OUT" && pwd) WORK=$(cd "$WORK" && pwd)
[[ -z $RESUME_FROM ]] || RESUME_FROM=$(cd "$RESUME_FROM" && pwd) || exit 2
KIT=$WORK/kit STATE=$WORK/state RUNNING=''
export KIT WORK
# shellcheck source=steps.sh
. "$HERE/steps.sh"
# shellcheck source=cuda.sh
. "$HERE/cuda.sh"
# shellcheck source=sizes.sh
. "$HERE/sizes.sh"
STAGE_END=$(($(now) + SECONDS_GIVEN))

# Unpacks programs and data once for a work folder, after their hashes have been checked.
unpack() {
    local packed=$HERE archive
    [[ -f $packed/kit.sha256 ]] || packed=$HERE/kit
    if [[ ! -f $packed/kit.sha256 ]]; then
        say "there is no kit beside run.sh nor in kit/: make it with 'cargo xtask gpu pack'"
        exit 2
    fi
    cmp -s "$packed/kit.sha256" "$KIT/kit.sha256" && return
    (cd "$packed" && sha256sum --quiet -c kit.sha256) || exit 2
    rm -rf "$KIT" && mkdir -p "$KIT"
    for archive in "$packed"/*.tar.xz; do
        if command -v xz >/dev/null; then
            xz -dc "$archive" | tar -xf - -C "$KIT" || exit 2
        elif command -v python3 >/dev/null; then
            python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$archive" "$KIT" || exit 2
        else
            say "neither xz nor python3 is there to unpack $archive: install xz-utils"
            exit 2
        fi
    done
    cp "$packed/kit.sha256" "$KIT/"
}

# What an earlier machine brought back: notes and logs, compiled kernels of the same programs, the checkpoint of an unfinished run.
take_up() {
    [[ -n $RESUME_FROM ]] || return
    [[ -d $STATE ]] || [[ ! -f $RESUME_FROM/state.tar.gz ]] || tar -xzf "$RESUME_FROM/state.tar.gz" -C "$WORK"
    if [[ -f $RESUME_FROM/kernels.tar.gz && ! -d $WORK/kernels ]]; then
        tar -xzf "$RESUME_FROM/kernels.tar.gz" -C "$WORK"
        cmp -s "$WORK/kernels/kit.sha256" "$KIT/kit.sha256" || rm -rf "$WORK/kernels"
    fi
    local preset parts
    for preset in "${TRAIN_PRESETS[@]}"; do
        parts=("$RESUME_FROM/run-$preset".tar.part*)
        if [[ ${#parts[@]} -gt 0 && ! -d $WORK/runs/$preset ]]; then
            mkdir -p "$WORK/runs"
            cat "${parts[@]}" | tar -xf - -C "$WORK/runs" && say "resuming $preset from $RESUME_FROM"
        fi
        [[ ! -f $RESUME_FROM/$preset.safetensors ]] || cp "$RESUME_FROM/$preset.safetensors" "$OUT/"
    done
}

# Compiled kernels and choices, for the next machine.
keep_kernels() {
    [[ -d $WORK/kernels ]] || return 0
    cp "$KIT/kit.sha256" "$WORK/kernels/"
    tar -czf "$OUT/.kernels.tar.gz" -C "$WORK" kernels && mv "$OUT/.kernels.tar.gz" "$OUT/kernels.tar.gz"
}

# selfcheck PRESET DEVICE PRECISION
selfcheck() {
    job "selfcheck-$1-$2-$3" "$CHECK_LIMIT" "$KIT/bin/tu-train" selfcheck --json --quiet --threads "$CHECK_THREADS" --device "$2" --preset "$1" \
        --window "$SELFCHECK_WINDOW" --precision "$3"
}

# Ends the stage where affinities are further off than any rounding explains.
stop_if_wrong() {
    [[ -n $FORCE ]] && return
    "$KIT/bin/xtask" gpu verdict --state "$STATE" && return
    say 'stopping: numbers from a GPU that is wrong are worth nothing; --force goes on'
    keep_kernels
    exit 3
}

# parity DEVICE: the kernels' own tests, those of each kernel a step of their own.
parity() {
    local tests="$KIT/bin/kernel_tests" kernel kernels
    # A kit may be packed without them.
    [[ -x $tests ]] || return 0
    kernels=$("$tests" --list | sed -n 's/^\([a-z_]*\)::.*: test$/\1/p' | sort -u)
    # A program that does not even start fails as a step, and is not passed over.
    for kernel in ${kernels:-none}; do
        job "parity-$1-$kernel" "$CHECK_LIMIT" env TU_TEST_DEVICE="$1" TU_TEST_SHAPES="$TEST_SHAPES" RAYON_NUM_THREADS="$CHECK_THREADS" \
            "$tests" --nocapture "$kernel::"
    done
}

stage_a() {
    local preset
    step facts 30 "$HERE/facts.sh"
    # Most of the time is compiling kernels, one at a time in each process: so processes run side by side. Which of several kernels is
    # quickest is not decided now, while they disturb each other: what they chose is forgotten, what they compiled is kept.
    export CUBECL_AUTOTUNE_CACHE=0
    jobs_begin
    parity "$DEVICE"
    for preset in "${SELFCHECK_PRESETS[@]}"; do
        selfcheck "$preset" "$DEVICE" f32
    done
    [[ $DEVICE != cuda ]] || for preset in "${SELFCHECK_PRESETS[@]}"; do
        selfcheck "$preset" cuda bf16
    done
    join
    stop_if_wrong
    if [[ $DEVICE == cuda ]]; then
        jobs_begin
        parity wgpu
        selfcheck "${SELFCHECK_PRESETS[0]}" wgpu f32
        join
    fi
    unset CUBECL_AUTOTUNE_CACHE
    keep_kernels
}

speed() {
    step "$1" "$2" "$KIT/bin/network_speed" --json --device "$3" "${@:4}"
}

stage_b() {
    local half=bf16 words kernels torch=cpu halves=()
    stop_if_wrong
    # Vulkan has f16, and only for volumes: training wants the range of bf16.
    [[ $DEVICE == wgpu ]] && half=f16
    [[ $DEVICE == cpu ]] || halves=("${SPEED_HALF[@]/%/:$half}")
    [[ $half == f16 ]] || halves+=("${SPEED_BF16[@]/%/:bf16}")
    speed speed-f32 60 "$DEVICE" "${SPEED_F32[@]}"
    speed speed-half 45 "$DEVICE" "${halves[@]}"
    [[ $DEVICE == cuda ]] && torch=cuda
    if python3 -c 'import torch' 2>/dev/null; then
        step pytorch 60 python3 "$KIT/python/torch_speed.py" --theirs --json --budget 50 --device "$torch" "${SPEED_TORCH[@]}"
    else
        say '  pytorch: python3 has no torch here'
        note pytorch 'left out' 0 0 0
    fi
    segment shipped "$KIT/models/tiny-fib25.safetensors" "$DEVICE" f32 "$SEGMENT_LIMIT"
    [[ $DEVICE == cpu ]] || segment shipped "$KIT/models/tiny-fib25.safetensors" "$DEVICE" "$half" "$SEGMENT_LIMIT"
    for kernels in "${KERNELS[@]}"; do
        words="$DEVICE $kernels $KERNEL_WINDOW"
        # shellcheck disable=SC2086 # words of their own
        step "kernels-${kernels// /-}" 30 "$KIT/bin/kernel_speed" $words
    done
    [[ $DEVICE == cuda ]] && speed speed-vulkan 40 wgpu "${SPEED_F32[@]}"
    keep_kernels
}

# segment NAME MODEL DEVICE PRECISION LIMIT: end to end, from a volume on disk to labels on disk.
segment() {
    local output="$WORK/segmented/$1-$3-$4.zarr"
    # What was cut short lies beside it.
    rm -rf "$output"*
    mkdir -p "$WORK/segmented"
    step "segment-$1-$4" "$5" "$KIT/bin/tu-train" segment --json --quiet --device "$3" --precision "$4" --input "$KIT/data/fib25_ts2.zarr/raw" \
        --roi "$SEGMENT_ROI" --model "$2" --output "$output" || return
    step "evaluate-$1-$4" 20 "$KIT/bin/tu-train" evaluate --json --quiet --segmentation "$output" --truth "$KIT/data/fib25_ts2.zarr/labels" \
        --roi "$EVALUATE_ROI"
}

# The folder of the newest whole checkpoint of a run, if there is one.
newest_checkpoint() {
    find "$1/checkpoints" -maxdepth 1 -name 'step-*[0-9]' 2>/dev/null | sort -V | tail -1
}

# The newest checkpoint and the settings and curves of a run, in parts that fit through narrow doors.
bring_back_run() {
    local run="$WORK/runs/$1" newest
    newest=$(basename "$(newest_checkpoint "$run")")
    [[ -n $newest ]] || return 0
    cmp -s "$STATE/brought-back-$1" - <<<"$newest" && return 0
    rm -rf "$OUT/.run" && mkdir -p "$OUT/.run"
    # A checkpoint may be thinned out while it is read: then the one before stays.
    if tar -cf - -C "$WORK/runs" "$1/checkpoints/$newest" "$1/config.toml" "$1/metrics.jsonl" | split -b 15000000 - "$OUT/.run/run-$1.tar.part"; then
        rm -f "$OUT/run-$1".tar.part*
        mv "$OUT/.run/"* "$OUT/"
        echo "$newest" >"$STATE/brought-back-$1"
    fi
    rm -rf "$OUT/.run"
    [[ ! -f $run/metrics.jsonl ]] || cp "$run/metrics.jsonl" "$STATE/logs/C-metrics-$1.jsonl"
}

bring_back() {
    local preset
    for preset in "${TRAIN_PRESETS[@]}"; do
        [[ -f $OUT/$preset.safetensors ]] || bring_back_run "$preset"
    done
}

# train PRESET SECONDS: the shipped recipe, going on where a run has been taken up; its checkpoints are brought back every minute.
train() {
    local preset=$1 limit=$2 run="$WORK/runs/$1" resume=() keeper status=0
    [[ -d $run/checkpoints ]] && resume=(--resume)
    (while sleep 60; do bring_back_run "$preset"; done) &
    keeper=$!
    # SIGTERM makes training save and return: the time after it is for that.
    KILL_AFTER=25 TIME_IS_ENOUGH=yes step "train-$preset" "$limit" env --chdir="$KIT" "$KIT/bin/tu-train" finetune --json --device "$DEVICE" --config "$KIT/settings/fib25.toml" \
        --preset "$preset" --steps "$TRAIN_STEPS" --crop "$TRAIN_CROP" --validate-every 0 "${TRAIN_OPTIONS[@]}" --out "$run" "${resume[@]}" || status=$?
    kill "$keeper" 2>/dev/null
    bring_back_run "$preset"
    return "$status"
}

# What a run came to, whether it is finished or not. As for the shipped model, the threshold is chosen on the block that is scored.
judge() {
    local preset=$1 run="$WORK/runs/$1" model="$WORK/$1.safetensors" newest
    newest=$(newest_checkpoint "$run")
    [[ -n $newest ]] || return 1
    rm -f "$model"
    step "calibrate-$preset" 60 "$KIT/bin/tu-train" calibrate --json --quiet --device "$DEVICE" --model "$newest/model.safetensors" \
        --raw "$KIT/data/fib25_ts2.zarr/raw" --labels "$KIT/data/fib25_ts2.zarr/labels" --roi "$CALIBRATE_ROI" \
        --tile "$CALIBRATE_TILE" --halo "$CALIBRATE_HALO" --shifts 2 --out "$model" || return
    segment "$preset" "$model" "$DEVICE" f32 100
}

stage_c() {
    local preset finished
    stop_if_wrong
    for preset in "${TRAIN_PRESETS[@]}"; do
        [[ -f $OUT/$preset.safetensors ]] && continue
        # Two minutes remain for judging what there is.
        local reserve=$((SECONDS_GIVEN / 4))
        [[ $reserve -gt 100 ]] && reserve=100
        finished=
        train "$preset" $(($(left) - reserve)) && finished=yes
        judge "$preset"
        if [[ -n $finished && -f $WORK/$preset.safetensors ]]; then
            # A finished run is its model: the checkpoint is needed no longer.
            cp "$WORK/$preset.safetensors" "$OUT/" && rm -f "$OUT/run-$preset".tar.part*
        fi
    done
    keep_kernels
}

unpack
sizes "$SIZES"
take_up
mkdir -p "$STATE/logs" "$WORK/kernels"
# Kernels that are compiled and chosen are kept there between programs, stages and machines.
cd "$WORK" || exit 2
printf '[compilation]\ncache = true\n\n[environment]\npath = { directory = "%s" }\n' "$WORK/kernels" >"$WORK/cubecl.toml"
{
    use_cuda
    use_driver
} >"$WORK/cuda.txt"
# Behind everything that the machine has itself.
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$KIT/lib"
trap cut_short TERM INT HUP
say "stage $STAGE on $DEVICE, at most $SECONDS_GIVEN s, results in $OUT"
touch "$STATE/steps.jsonl"
FIRST_NOTE=$(($(wc -l <"$STATE/steps.jsonl") + 1))
case $STAGE in A) stage_a ;; B) stage_b ;; C) stage_c ;; esac
publish
FAILED=$(tail -n "+$FIRST_NOTE" "$STATE/steps.jsonl" | grep -vcE '"outcome":"(passed|left out|stopped)"')
say "stage $STAGE is done: $FAILED steps failed; see $OUT/report.md"
[[ $FAILED -eq 0 ]]
