#!/bin/sh
# Fetches the wheels that a GPU machine without a network lacks, at the versions of requirements.txt: Python 3.12, Linux.
#   sh benchmarks/on_gpu/wheels.sh FOLDER
set -eu
into=${1:?give the folder for the wheels}
requirements=$(dirname "$0")/../../requirements.txt
python=${PYTHON:-python3}
platforms=$(for glibc in 28 27 24 17 12 5; do echo "--platform manylinux_2_${glibc}_x86_64"; done)
for name in shapely simplejpeg openslide-bin openslide-python imagecodecs; do
  pin=$(grep -E "^$name==" "$requirements" | grep -v "< '3.12'" | sed 's/[ ;\\].*//')
  # shellcheck disable=SC2086 # several words are meant
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
    --implementation cp $platforms --platform manylinux2014_x86_64 --platform manylinux1_x86_64 --dest "$into" "$pin"
done
du -sh "$into"
