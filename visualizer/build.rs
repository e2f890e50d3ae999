//! Says which folder of pages is embedded: `web/dist` as npm built it, else a folder of one page that says how to build them.
//!
//! Keeps: the crate compiles without npm and without the network.

use std::{env, fs, path::PathBuf};

const PLACEHOLDER: &str = "<!doctype html><meta charset=\"utf-8\"><title>Tidewatch</title><p>The pages are not built: run <code>make build</code>.\n";

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let folder = |name| env::var_os(name).map(PathBuf::from).unwrap_or_default();
    let built = folder("CARGO_MANIFEST_DIR").join("web").join("dist");
    // a path that does not exist yet counts as changed at every build: cheap, and the pages are found once they are there
    println!("cargo::rerun-if-changed={}", built.display());
    let dist = if built.join("index.html").is_file() {
        built
    } else {
        let placeholder = folder("OUT_DIR").join("dist");
        fs::create_dir_all(&placeholder)?;
        fs::write(placeholder.join("index.html"), PLACEHOLDER)?;
        placeholder
    };
    println!("cargo::rustc-env=TIDEWATCH_WEB_DIST={}", dist.display());
    Ok(())
}
