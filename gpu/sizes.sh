# shellcheck shell=bash
# How much is measured, by device: full for a GPU, small where a processor stands in for one, so that a rehearsal of every step fits into
# minutes. The only place with sizes. Sourced by run.sh; items are those of the example `network_speed`.
# shellcheck disable=SC2034,SC2054 # used where it is sourced; commas separate the sides of a window

sizes() {
    case $1 in
    full)
        SELFCHECK_PRESETS=(tiny small base)
        TEST_SHAPES=all
        SPEED_F32=(
            forward:tiny:16,160,160 step:tiny:16,96,96 forward:small:16,160,160 step:small:16,96,96
            forward:base:16,160,160 step:base:16,96,96
        )
        SPEED_HALF=(forward:tiny:16,160,160 forward:small:16,160,160 forward:base:16,160,160)
        SPEED_BF16=(step:tiny:16,96,96 step:small:16,96,96 step:base:16,96,96 step:base:16,160,160)
        SPEED_TORCH=(
            forward:base:16,160,160 forward:base:16,160,160:bf16 step:base:16,96,96 step:base:16,96,96:bf16
            forward:tiny:16,160,160:bf16 forward:tiny:16,160,160 step:tiny:16,96,96
        )
        KERNELS=('base' 'base bf16' 'tiny')
        KERNEL_WINDOW='16 160 160 3'
        SELFCHECK_WINDOW=16,160,160
        AT_ONCE=yes
        CHECK_LIMIT=120
        CHECK_THREADS=4
        SEGMENT_ROI='0:250,:,:'
        SEGMENT_LIMIT=40
        TRAIN_PRESETS=(small tiny)
        TRAIN_STEPS=3000
        TRAIN_CROP=24,80,80
        TRAIN_OPTIONS=()
        EVALUATE_ROI='180:250,:,:'
        CALIBRATE_ROI='192:250,:,:'
        CALIBRATE_TILE=32,96,96
        CALIBRATE_HALO=4,16,16
        ;;
    small)
        SELFCHECK_PRESETS=(tiny)
        TEST_SHAPES=few
        SPEED_F32=(forward:tiny:2,32,32 step:tiny:2,32,32)
        SPEED_HALF=(forward:tiny:2,32,32)
        SPEED_BF16=(step:tiny:2,32,32)
        SPEED_TORCH=(forward:tiny:2,32,32 step:tiny:2,32,32:bf16)
        KERNELS=('tiny')
        KERNEL_WINDOW='1 32 32 1'
        SELFCHECK_WINDOW=4,32,32
        AT_ONCE=
        CHECK_LIMIT=400
        CHECK_THREADS=2
        SEGMENT_ROI='192:208,0:64,0:64'
        SEGMENT_LIMIT=100
        TRAIN_PRESETS=(tiny)
        TRAIN_STEPS=2
        TRAIN_CROP=2,32,32
        TRAIN_OPTIONS=(--val-roi 192:208,0:64,0:64)
        EVALUATE_ROI='192:208,0:64,0:64'
        CALIBRATE_ROI='192:208,0:64,0:64'
        CALIBRATE_TILE=16,32,32
        CALIBRATE_HALO=0,0,0
        ;;
    esac
}
