#!/bin/sh
# Builds my-filter.wasm with clang, wasi-libc (for malloc and string functions) and the linker of
# components that comes with Rust. Environment: CLANG, WASI_LIBC (directory of libc.a), LINKER.
set -eu
cd "$(dirname "$0")"

fail() {
    echo "build.sh: $*" >&2
    exit 1
}

# The newest of Debian's versioned ones, if there is no plain one.
clang=${CLANG:-$(command -v clang || ls /usr/bin/clang-[0-9]* 2>/dev/null | sort -V | tail -n 1)}
libc=${WASI_LIBC:-/usr/lib/wasm32-wasi}
if [ -z "$clang" ] || [ ! -f "$libc/libc.a" ]; then
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
        fail "clang and wasi-libc are needed: apt-get install clang wasi-libc"
    apt-get install -y --no-install-recommends clang wasi-libc >&2
    clang=clang
fi
if [ -z "${LINKER-}" ]; then
    command -v rustc >/dev/null || fail "wasm-component-ld is needed; it comes with Rust"
    host=$(rustc -vV | sed -n 's/^host: //p')
    tools=$(rustc --print sysroot)/lib/rustlib/$host/bin
    PATH=$PATH:$tools:$tools/gcc-ld
    LINKER=wasm-component-ld
fi

objects=$(mktemp -d)
trap 'rm -r "$objects"' EXIT
# The bindings link to an object that has the contract in it; here the linker reads it as it is.
echo 'void __component_type_object_force_link_filter(void) {}' >"$objects/contract.c"
for source in main.c filter.c "$objects/contract.c"; do
    "$clang" --target=wasm32-wasi -isystem "${libc%/lib/*}/include/wasm32-wasi" -O2 -Wall -Wextra \
        -c "$source" -o "$objects/$(basename "$source" .c).o"
done
# Nothing of libc that would need WASI is used, so nothing of it is imported.
"$LINKER" --no-entry --gc-sections --strip-all --component-type wit/plugin.wit \
    -o my-filter.wasm "$objects"/*.o "$libc/libc.a"
echo "$PWD/my-filter.wasm"
