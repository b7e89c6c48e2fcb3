# shellcheck shell=bash
# Finds what CubeCL needs on an NVIDIA machine to compile kernels while it runs: the NVRTC library in the loader's path and the headers that
# kernels include (half types, matrix units, barriers). Toolkits and the wheels that PyTorch brings both have them. Sourced by run.sh.

# Folders that may hold a toolkit, best first.
toolkits() {
    local nvcc
    [[ -n ${CUDA_PATH:-} ]] && echo "$CUDA_PATH"
    [[ -n ${CUDA_HOME:-} ]] && echo "$CUDA_HOME"
    nvcc=$(command -v nvcc) && dirname "$(dirname "$(readlink -f "$nvcc")")"
    printf '%s\n' /usr/local/cuda /usr/local/cuda-[0-9]* /opt/cuda
    # Wheels: CUDA 13 has one folder for all, CUDA 12 one for each part.
    local python
    for python in python3 python; do
        command -v "$python" >/dev/null || continue
        "$python" -c 'import site, sys
for base in dict.fromkeys([*site.getsitepackages(), site.getusersitepackages(), *sys.path]):
    for part in ("cu13", "cu12", "cuda_nvrtc", "cuda_runtime", "cuda_cccl", "cuda_nvcc"):
        print(f"{base}/nvidia/{part}")' 2>/dev/null
    done
}

# The first folder with a file of that pattern below one of the toolkits; its subfolders are given behind the pattern.
first_with() {
    local pattern=$1 toolkit sub file
    shift
    while read -r toolkit; do
        for sub in "$@"; do
            for file in "$toolkit/$sub"/$pattern; do
                [[ -e $file ]] && echo "$toolkit/$sub" && return 0
            done
        done
    done < <(toolkits)
    return 1
}

# Sets LD_LIBRARY_PATH and CUDA_PATH, and says what was found. The compiler is asked for by names that a wheel lacks
# (libnvrtc.so), so a folder of links has them; newer than 13 it would not be found at all otherwise.
use_cuda() {
    local links="$WORK/nvrtc" libraries headers cccl crt file
    mkdir -p "$links"
    if libraries=$(first_with 'libnvrtc.so*' lib64 lib targets/x86_64-linux/lib lib/x86_64-linux-gnu); then
        for file in "$libraries"/libnvrtc.so*; do
            ln -sfn "$file" "$links/libnvrtc.so"
        done
        export LD_LIBRARY_PATH="$links:$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
        echo "NVRTC: $(readlink -f "$links/libnvrtc.so")"
    elif file=$(ldconfig -p 2>/dev/null | awk '/libnvrtc\.so/ { print $NF; exit }') && [[ -n $file ]]; then
        ln -sfn "$file" "$links/libnvrtc.so"
        export LD_LIBRARY_PATH="$links${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
        echo "NVRTC: $file"
    else
        echo 'NVRTC: none; install the CUDA toolkit 12.8 or later, or pip install nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cuda-cccl'
    fi
    # CubeCL takes CUDA_PATH/include, and CUDA_PATH/include/cccl where that is. Half types include nv/target, matrix units crt/mma.h:
    # a toolkit has all of it, and wheels have it in up to three folders.
    if headers=$(first_with crt/mma.h include targets/x86_64-linux/include) && [[ -e $headers/cuda_fp16.h ]] &&
        [[ -e $headers/nv/target || -e $headers/cccl/nv/target ]]; then
        CUDA_PATH=$(dirname "$headers")
    elif headers=$(first_with cuda_fp16.h include targets/x86_64-linux/include); then
        rm -rf "$links/include"
        mkdir -p "$links/include"
        ln -s "$headers"/* "$links/include/"
        if [[ ! -e $headers/cccl/nv/target ]] && cccl=$(first_with nv/target include include/cccl); then
            ln -sfn "$cccl" "$links/include/cccl"
        fi
        if [[ ! -e $headers/crt/mma.h ]] && crt=$(first_with crt/mma.h include); then
            ln -sfn "$crt/crt" "$links/include/crt"
        fi
        CUDA_PATH=$links
        [[ -e $links/include/cccl/nv/target || -e $links/include/nv/target ]] ||
            echo 'CUDA headers: nv/target is missing, so no kernel with half types compiles; pip install nvidia-cuda-cccl'
        [[ -e $links/include/crt/mma.h ]] ||
            echo 'CUDA headers: crt/mma.h is missing, so no kernel with matrix units compiles; pip install nvidia-cuda-crt'
    else
        echo 'CUDA headers: none with cuda_fp16.h; install the CUDA toolkit 12.8 or later, or pip install' \
            'nvidia-cuda-runtime nvidia-cuda-crt nvidia-cuda-cccl in the version of NVRTC'
    fi
    if [[ -n ${CUDA_PATH:-} ]]; then
        export CUDA_PATH
        echo "CUDA headers: $CUDA_PATH/include"
    fi
}

# use_library NAME FOLDER…: puts the first of the folders that has the library into the loader's path, unless the loader finds it already.
use_library() {
    local name=$1 folder
    shift
    ldconfig -p 2>/dev/null | grep -q "$name" && return 0
    for folder in "$@"; do
        if [[ -e $folder/$name ]]; then
            export LD_LIBRARY_PATH="$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
            return 0
        fi
    done
    return 1
}

# The NVIDIA driver where containers and WSL have it, and its description for Vulkan.
use_driver() {
    local file
    use_library libcuda.so.1 /usr/local/nvidia/lib64 /usr/local/nvidia/lib /usr/lib/wsl/lib ||
        echo 'driver: libcuda.so.1 is in no folder that the loader searches'
    if [[ -z ${VK_DRIVER_FILES:-} ]] && ! ls /usr/share/vulkan/icd.d/nvidia* /etc/vulkan/icd.d/nvidia* >/dev/null 2>&1; then
        for file in /usr/local/nvidia/share/vulkan/icd.d/nvidia_icd*.json; do
            if [[ -e $file ]]; then
                export VK_DRIVER_FILES=$file
            fi
        done
    fi
}
