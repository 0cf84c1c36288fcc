//! `ebpf`: builds the kernel object, with the same bytes from any directory, and records its
//! origin.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};

use crate::{
    digest::{digest, hex},
    remaps::{cargo_home, flag, remaps},
    shell::{output, root, run},
};

/// The version of bpf-linker that is installed and recorded.
pub(crate) const LINKER_VERSION: &str = "0.13.0";
/// Debian's LLVM for bpf-linker.
pub(crate) const LLVM: &str = "/usr/lib/llvm-22";
/// Debian's compiler, beside which rustup's may be installed.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const TARGET: &str = "bpfel-unknown-none";
/// The sources of the object. Besides the sources, only the toolchain may change its bytes.
const SOURCES: [&str; 5] = [
    "netmon-common/Cargo.toml",
    "netmon-common/src",
    "netmon-ebpf/Cargo.lock",
    "netmon-ebpf/Cargo.toml",
    "netmon-ebpf/src",
];
const OBJECT: &str = "netmon-ebpf/prebuilt/netmon.bpf.o";
const PROVENANCE: &str = "netmon-ebpf/prebuilt/provenance.txt";

/// A compiler for the BPF target with its library source, and the tools after it.
pub(crate) struct Toolchain {
    /// Version line of the compiler.
    pub(crate) compiler: String,
    /// Version line of the linker.
    pub(crate) linker: String,
    rustc: PathBuf,
    /// The command of the toolchain's own cargo, which can build `core` from source.
    cargo: Vec<String>,
    library: PathBuf,
    objcopy: PathBuf,
}

impl Toolchain {
    /// Finds Debian's toolchain, or else rustup's nightly.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let linker = output(Command::new(linker()).arg("--version"))
            .context("no bpf-linker: run `cargo xtask setup`")?;
        ensure!(
            linker.ends_with(LINKER_VERSION),
            "{linker} is not {LINKER_VERSION}: run `cargo xtask setup`"
        );
        let objcopy = objcopy()?;
        let debian = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        let candidates = [
            (PathBuf::from(DEBIAN_RUSTC), debian(&["/usr/bin/cargo"])),
            (nightly().unwrap_or_default(), debian(&["rustup", "run", "nightly", "cargo"])),
        ];
        for (rustc, cargo) in candidates {
            let sysroot = Command::new(&rustc).args(["--print", "sysroot"]).output();
            let Ok(sysroot) = sysroot else { continue };
            let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim());
            let library = sysroot.join("lib/rustlib/src/rust/library");
            if !library.exists() {
                continue;
            }
            let compiler = output(Command::new(&rustc).arg("--version"))?;
            return Ok(Self { compiler, linker, rustc, cargo, library, objcopy });
        }
        bail!("no compiler with its library source: run `cargo xtask setup`")
    }

    /// Builds the object and returns its path.
    fn build(&self) -> anyhow::Result<PathBuf> {
        let target = root().join("target/ebpf");
        // The compiler names the library by its own path and by the path in the sysroot.
        let mut remaps = remaps(&root())?;
        remaps.push((self.library.clone(), "/rust/library".to_owned()));
        remaps.push((self.library.canonicalize()?, "/rust/library".to_owned()));
        let mut flags = "-Cdebuginfo=2\x1f-Clink-arg=--btf".to_owned();
        for remap in &remaps {
            flags.push_str(&format!("\x1f{}", flag("--remap-path-prefix", remap)));
        }
        flags.push_str(&format!("\x1f-Clinker={}", linker().display()));
        run(Command::new(&self.cargo[0])
            .args(&self.cargo[1..])
            .args(["build", "--quiet", "--release", "--locked", "--target", TARGET])
            .args(["-Zbuild-std=core", "--target-dir"])
            .arg(&target)
            .current_dir(root().join("netmon-ebpf"))
            .env("RUSTC", &self.rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", flags)
            // The cargo that runs this program is of another toolchain, and sets both.
            .env_remove("CARGO")
            .env_remove("RUSTUP_TOOLCHAIN"))?;
        let built = target.join(TARGET).join("release/netmon");
        let stripped = target.join("netmon.bpf.o");
        // Debug sections go, BTF stays.
        let object = fs::read(&built)?;
        let names = target.join("names");
        let renamed = mangled(&object).into_iter().map(|(from, to)| format!("{from} {to}\n"));
        fs::write(&names, renamed.collect::<String>())?;
        run(Command::new(&self.objcopy)
            .args(["--strip-debug", "--redefine-syms"])
            .arg(&names)
            .args([&built, &stripped]))?;
        Ok(stripped)
    }

    /// Returns the text of provenance.txt, which is recorded beside the object.
    fn provenance(&self, sources: &str, object: &Path) -> anyhow::Result<String> {
        let digest = digest(&fs::read(object)?);
        let objcopy = output(Command::new(&self.objcopy).arg("--version"))?;
        let objcopy = objcopy.lines().find(|line| line.contains("version")).unwrap_or("unknown");
        Ok(format!(
            "compiler: {}\nlinker: {}\nobjcopy: {}\nsources: sha256 {sources}\n\
             object: sha256 {digest}\n",
            self.compiler,
            self.linker,
            objcopy.trim()
        ))
    }
}

/// Builds the object into the tree; returns its path.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    let toolchain = Toolchain::find()?;
    let built = toolchain.build()?;
    let object = root().join(OBJECT);
    fs::copy(&built, &object).with_context(|| format!("writing {OBJECT}"))?;
    let provenance = toolchain.provenance(&sources()?, &object)?;
    fs::write(root().join(PROVENANCE), &provenance)?;
    eprint!("{OBJECT}:\n{provenance}");
    Ok(object)
}

/// Returns Rust's mangled names, each with its name without the crates' disambiguators (`Cs…_`).
/// Cargo makes a disambiguator from the directory, as netmon-common is outside of netmon-ebpf's
/// workspace.
fn mangled(object: &[u8]) -> BTreeMap<&str, String> {
    let names = object.split(|byte| *byte == 0).filter_map(|name| str::from_utf8(name).ok());
    let mangled = names.filter(|name| name.starts_with("_R"));
    mangled
        .map(|name| {
            let mut parts = name.split("Cs");
            let mut plain = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                match part.split_once('_') {
                    Some((hash, rest)) if hash.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                        plain.extend(["C", rest]);
                    }
                    _ => plain.extend(["Cs", part]),
                }
            }
            (name, plain)
        })
        .collect()
}

/// Builds the object below `target`, and fails when the committed object does not match its
/// sources. Returns the path of what was built, if its bytes are not those of the committed object,
/// because another compiler built that one.
pub(crate) fn check() -> anyhow::Result<Option<PathBuf>> {
    let recorded = fs::read_to_string(root().join(PROVENANCE)).context(PROVENANCE)?;
    let field = |name: &str| {
        recorded.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
    };
    let object = fs::read(root().join(OBJECT)).context(OBJECT)?;
    ensure!(
        field("object: sha256") == digest(&object),
        "{OBJECT} is not the one that {PROVENANCE} describes: run `cargo xtask ebpf`"
    );
    ensure!(
        field("sources: sha256") == sources()?,
        "{OBJECT} is older than its sources: run `cargo xtask ebpf` and commit both files"
    );
    let toolchain = Toolchain::find()?;
    let same = field("compiler:") == toolchain.compiler && field("linker:") == toolchain.linker;
    let built = toolchain.build()?;
    if !same {
        eprintln!(
            "{OBJECT}: its sources are unchanged. Its bytes were not compared: it was built with \
             {}, and the compiler here is {}",
            field("compiler:"),
            toolchain.compiler
        );
        return Ok(Some(built));
    }
    ensure!(
        fs::read(built)? == object,
        "{OBJECT} differs from the object that the same toolchain makes of its sources: \
         run `cargo xtask ebpf`"
    );
    eprintln!("{OBJECT}: matches its sources, byte for byte");
    Ok(None)
}

/// Returns the digest of all sources, by name and content.
fn sources() -> anyhow::Result<String> {
    let mut files = Vec::new();
    for source in SOURCES {
        collect(&root().join(source), &mut files)?;
    }
    files.sort();
    let mut hasher = Sha256::new();
    for file in files {
        let name = file.strip_prefix(root())?.to_string_lossy().into_owned();
        let content = fs::read(&file)?;
        hasher.update(format!("{name} {}\n", content.len()));
        hasher.update(content);
    }
    Ok(hex(&hasher.finalize()))
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}

/// Returns bpf-linker of the cargo home, or else the name for a search in PATH.
fn linker() -> PathBuf {
    let installed = cargo_home().unwrap_or_default().join("bin/bpf-linker");
    if installed.exists() { installed } else { "bpf-linker".into() }
}

fn objcopy() -> anyhow::Result<PathBuf> {
    let debian = Path::new(LLVM).join("bin/llvm-objcopy");
    let found = if debian.exists() { debian } else { "llvm-objcopy".into() };
    output(Command::new(&found).arg("--version"))
        .context("no llvm-objcopy: install LLVM's tools")?;
    Ok(found)
}

fn nightly() -> Option<PathBuf> {
    output(Command::new("rustup").args(["which", "--toolchain", "nightly", "rustc"]))
        .ok()
        .map(Into::into)
}
