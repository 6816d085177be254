# For build.sh and test.sh: ends with 3, and says what to install, where cargo is missing or too old.
need=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
install="raft-rs needs Rust $need or later (cargo and rustc, for example by rustup) and a C compiler"
have=$(cargo --version 2>/dev/null | sed 's/^cargo \([0-9.]*\).*/\1/') || true
if [ -z "$have" ] || ! rustc --version >/dev/null 2>&1; then
    echo "$install: there is none"
    exit 3
fi
if [ "$(printf '%s\n%s\n' "$need" "$have" | sort -V | head -n 1)" != "$need" ]; then
    echo "$install: there is $have"
    exit 3
fi
if ! command -v cc >/dev/null 2>&1; then
    echo "$install: there is no cc"
    exit 3
fi
