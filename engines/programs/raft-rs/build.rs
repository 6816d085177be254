//! Tells the program which compiler built it, for `describe`.

fn main() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let said = std::process::Command::new(rustc).arg("--version").output();
    let version = said.ok().and_then(|o| String::from_utf8(o.stdout).ok());
    let version = version.as_deref().and_then(|v| v.split_whitespace().nth(1)).unwrap_or("unknown");
    println!("cargo:rustc-env=RUST_VERSION={version}");
    println!("cargo:rerun-if-changed=build.rs");
}
