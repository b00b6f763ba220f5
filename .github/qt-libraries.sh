#!/usr/bin/env bash
# What Qt, OpenGL in software and a virtual screen need on Debian and Ubuntu.
set -euo pipefail
as_root=()
[[ $(id -u) == 0 ]] || as_root=(sudo)
"${as_root[@]}" apt-get update
"${as_root[@]}" apt-get install -y --no-install-recommends xvfb xauth libegl1 libgl1 libgl1-mesa-dri \
    libopengl0 libdbus-1-3 libfontconfig1 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0 \
    libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0 libxcb-xkb1
