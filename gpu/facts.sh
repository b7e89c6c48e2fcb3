#!/usr/bin/env bash
# Prints what the machine is and what was found on it. Called by run.sh, with KIT and WORK in the environment.
shopt -s nullglob

echo "kit: $(tr -d '\n' <"$KIT/MANIFEST.json" | cut -c1-300)"
echo "date: $(date -u +%FT%TZ)"
echo "processor: $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2- | xargs), $(nproc) cores," \
    "$(awk '/MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo), $(uname -sr)"
if command -v nvidia-smi >/dev/null; then
    nvidia-smi --query-gpu=name,memory.total,driver_version,clocks.max.sm,power.limit --format=csv,noheader | sed 's/^/GPU: /'
    nvidia-smi | sed -n 's/^.*\(CUDA Version: [0-9.]*\).*$/driver: \1/p'
else
    echo 'GPU: no nvidia-smi'
fi
command -v nvcc >/dev/null && echo "nvcc: $(nvcc --version | sed -n 's/^.*release //p')"
cat "$WORK/cuda.txt"
echo "VK_DRIVER_FILES: ${VK_DRIVER_FILES:-not set}; Vulkan drivers:" /usr/share/vulkan/icd.d/* /etc/vulkan/icd.d/*
echo 'libraries that the loader finds:'
ldconfig -p | grep -E 'libvulkan|libnvrtc|libcuda\.so|libGLX_nvidia|libEGL_nvidia'
python3 -c 'import torch; print("PyTorch:", torch.__version__, "CUDA", torch.version.cuda, "usable" if torch.cuda.is_available() else "not usable")' ||
    echo 'PyTorch: none'
"$KIT/bin/tu-train" --version
