#!/usr/bin/env bash
# Put everything that the image holds into an empty directory: build.sh ROOT.
#
# That is the Python that runs this script (PYTHON), without what only developers need; the packages of
# requirements-image.lock, by hash; propeller, built from this tree; the shared libraries of all these, and what TLS and
# name resolution read. No shell, no package manager, no compiler. deploy/Dockerfile runs it, and so does a test.
set -euo pipefail
cd "$(dirname "$0")/../.."

root=$(realpath -m "${1:?usage: build.sh ROOT}")
python=$(${PYTHON:-python3} -c 'import os, sys; print(os.path.realpath(sys._base_executable))')
[ -z "$(ls -A "$root" 2>/dev/null)" ] || { echo "build.sh: $root is not empty" >&2; exit 1; }
command -v strip >/dev/null || { echo "build.sh: strip is missing: install binutils" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

path_of() { "$python" -I -c "import sysconfig; print(sysconfig.get_path('$1'))"; }
stdlib=$(path_of stdlib)
packages=$(path_of purelib)

build_wheel() {
  "$python" -m venv "$work/tools"
  "$work/tools/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
    -r requirements-tools.lock
  "$work/tools/bin/hatchling" build -t wheel -d "$work/dist" >/dev/null
}

copy_python() {
  mkdir -p "$root$stdlib" "$root$(dirname "$python")"
  install -m 755 "$python" "$root$python"
  tar -C "$stdlib" -c \
    --exclude=__pycache__ --exclude=./site-packages --exclude=./dist-packages --exclude=./test --exclude='./*/test' \
    --exclude='./*/tests' --exclude=./idlelib --exclude=./tkinter --exclude=./turtledemo --exclude=./turtle.py \
    --exclude=./ensurepip --exclude=./lib2to3 --exclude=./pydoc_data --exclude=./venv --exclude='./config-*' \
    --exclude='./lib-dynload/_test*' --exclude='./lib-dynload/_tkinter*' --exclude='./lib-dynload/*_test.*' . |
    tar -C "$root$stdlib" -x --no-same-owner
}

install_packages() {
  mkdir -p "$root$packages" "$root/usr/local/bin"
  local uv=("$work/tools/bin/uv" pip install --quiet --python "$python" --target "$root$packages" --link-mode copy)
  "${uv[@]}" --require-hashes -r requirements-image.lock
  "${uv[@]}" --no-deps "$work"/dist/*.whl
  rm -rf "$root$packages/bin" "$root$packages/.lock"
  find "$root$packages" -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +
  # botocore describes all of AWS; the controller uses S3, and what credentials may come from
  find "$root$packages/botocore/data" -mindepth 1 -maxdepth 1 -type d \
    ! -name s3 ! -name sts ! -name sso ! -name sso-oidc ! -name signin -exec rm -rf {} +
  printf '#!%s -I\nimport sys\n\nfrom propeller.cli.__main__ import main\n\nsys.exit(main())\n' "$python" \
    >"$root/usr/local/bin/propeller"
  chmod 755 "$root/usr/local/bin/propeller"
}

# Without compiled files each start would compile everything, as the root file system is read-only. The models of
# kubernetes-asyncio and the lexers of Pygments are thousands of files that a controller does not import.
compile_sources() {
  local options=(-q -j 0 -s "$root" --invalidation-mode unchecked-hash -x '/kubernetes_asyncio/|/pygments/')
  "$python" -I -m compileall "${options[@]}" "$root$stdlib"
}

# Wheels' debug symbols are a third of their size.
strip_symbols() {
  find "$root" -type f \( -name '*.so' -o -name '*.so.*' -o -path "$root$python" \) -exec strip --strip-unneeded {} +
}

copy_libraries() {
  local library
  find "$root" -type f \( -name '*.so' -o -name '*.so.*' -o -path "$root$python" \) -print0 |
    xargs -0 ldd 2>/dev/null | grep -oE '(=> )?/[^ ]+' | sed 's/^=> //; s/:$//' | sort -u |
    while read -r library; do
      [[ $library == "$root"* || -e $root$library ]] || install -D -m 755 "$(realpath "$library")" "$root$library"
    done
}

# As distroless images do, so that scanners know what the libraries are.
note_debian_packages() {
  command -v dpkg-query >/dev/null || return 0
  local library package
  mkdir -p "$root/var/lib/dpkg/status.d"
  find "$root" -path "$root$stdlib" -prune -o -type f -name '*.so*' -print | sed "s|^$root||" | while read -r library; do
    package=$({ dpkg-query -S "$library" || dpkg-query -S "/usr$library" || dpkg-query -S "${library#/usr}" ||
      true; } 2>/dev/null | cut -d: -f1) # recorded with /usr or without
    [ -z "$package" ] || dpkg-query -s "$package" >"$root/var/lib/dpkg/status.d/$package"
  done
}

make_system_files() {
  mkdir -p "$root"/{etc/ssl/certs,proc,dev,run,var,tmp}
  chmod 1777 "$root/tmp"
  printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n' >"$root/etc/passwd"
  printf 'root:x:0:\nnonroot:x:65532:\n' >"$root/etc/group"
  printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
  if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
    install -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
  fi
}

build_wheel
copy_python
install_packages
compile_sources
make_system_files
copy_libraries
strip_symbols
note_debian_packages
chmod -R u+w,go-w,a+rX "$root"
chmod 1777 "$root/tmp"
