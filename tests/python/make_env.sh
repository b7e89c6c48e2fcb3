#!/usr/bin/env bash
# Makes tests/python/.venv, the Python in which the peers of our algorithms run: waterz, scikit-image, zarr, torch.
#
#   tests/python/make_env.sh            make it, or bring it up to date; does nothing if it is
#   PYTHON=/path/to/python3 tests/python/make_env.sh
#
# The environment sees the system's packages, so that Debian's python3-torch (1.13) is used rather than
# downloaded. That build of torch needs numpy 1.x, which is why numpy is pinned here and everything else with it.
# waterz comes as a wheel that holds the mean and quantile scorings; its `max` is compiled on first use and
# needs a C++ compiler and the boost headers (apt install g++ libboost-dev); without them the peers leave `max` out
# and say so.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv="$here/.venv"
python=${PYTHON:-/usr/bin/python3}
packages=(
    "numpy==1.26.4"
    "scipy==1.17.1"
    "scikit-image==0.26.0"
    "zarr==3.1.5"
    "numcodecs==0.16.6"
    "waterz==0.10.1"
    "witty==0.3.4"
    "cython>=3.0,<4"
    "setuptools<81"
)
stamp="$venv/.packages"
wanted=$("$python" --version 2>&1; printf '%s\n' "${packages[@]}")

if [[ -f $stamp && $(cat "$stamp") == "$wanted" ]]; then
    echo "make_env: $venv is up to date"
else
    echo "make_env: creating $venv with $("$python" --version 2>&1) and the system's packages"
    "$python" -m venv --system-site-packages "$venv" || {
        echo "make_env: «$python -m venv» failed; on Debian: apt install python3-venv" >&2
        exit 1
    }
    echo "make_env: installing ${packages[*]}"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${packages[@]}"
    printf '%s' "$wanted" >"$stamp"
fi

"$venv/bin/python" - <<'PY'
import numpy, scipy, skimage, waterz, zarr
print(f"make_env: numpy {numpy.__version__}, scipy {scipy.__version__}, scikit-image {skimage.__version__}, "
      f"zarr {zarr.__version__}, waterz present")
try:
    import torch
    torch.from_numpy(numpy.zeros(3, numpy.float32))
    print(f"make_env: torch {torch.__version__} from the system works with this numpy")
except ImportError:
    print("make_env: no torch; tests against PyTorch will be left out (apt install python3-torch)")
PY
if command -v g++ >/dev/null && echo '#include <boost/multi_array.hpp>' | g++ -E -x c++ - >/dev/null 2>&1; then
    echo "make_env: C++ compiler and boost headers found, waterz can compile the scoring «max»"
else
    echo "make_env: no C++ compiler or boost headers, comparisons of «max» will be left out (apt install g++ libboost-dev)"
fi
