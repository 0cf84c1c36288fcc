//! `dist`: everything that is released, below `target/dist`.
//!
//! The same commit gives the same bytes on every machine with the same tools: no file has a path of
//! the machine, and every time is that of the commit.

mod archive;
mod image;
mod licences;
mod packages;
mod program;
mod provenance;
mod release;
mod rust;
mod sbom;
mod source;
mod stage;
mod target;
mod tools;
mod trial;
mod twice;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};

use self::{program::Program, release::Release, target::Target};

/// Make all files of a release, below target/dist
#[derive(Args, Debug)]
pub(crate) struct Dist {
    /// Architectures of the programs; both when none is named
    #[arg(long, value_enum, value_name = "ARCH")]
    target: Vec<Target>,
    /// Make only these kinds of files; the programs are made in any case
    #[arg(long, value_enum, value_name = "KIND")]
    only: Vec<Kind>,
    /// Build the programs a second time, from another directory, and compare the bytes
    #[arg(long)]
    twice: bool,
    /// Try the files of this machine's architecture: install, upgrade and remove the packages in
    /// root directories of their own, and run the static program and the image
    #[arg(long = "try")]
    is_trial: bool,
}

/// A kind of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The static programs and their symbols
    Program,
    /// The packages, deb and rpm
    Packages,
    /// The archives, tar.gz
    Archive,
    /// The images, as archives of the Open Container Initiative
    Image,
    /// The lists of components (CycloneDX)
    Sbom,
    /// The sources of netmon, and of its libraries under the LGPL
    Source,
}

impl Dist {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let targets =
            if self.target.is_empty() { Target::ALL.to_vec() } else { self.target.clone() };
        if self.is_trial {
            let native = Target::native()?;
            ensure!(
                targets.contains(&native),
                "--try runs programs of {0}: leave --target out, or add --target {0}",
                native.name()
            );
        }
        let mut built = targets.clone();
        let has_texts = self.makes(Kind::Packages) || self.makes(Kind::Archive);
        // The program writes its man pages and completions: it has to run on this machine.
        if has_texts && !built.contains(&Target::native()?) {
            built.push(Target::native()?);
        }
        let rust = tools::install(&built, |kind| self.makes(kind), self.is_trial)?;
        let release = Release::here(rust)?;
        eprintln!("dist: netmon {} of commit {}", release.version, release.commit);
        let mut programs = Vec::new();
        for &target in &built {
            programs.push(program::make(&release, target)?);
        }
        if self.twice {
            twice::compare(&release, &targets)?;
        }
        let licences = match has_texts || self.makes(Kind::Image) {
            true => licences::files(&release)?,
            false => Vec::new(),
        };
        if has_texts {
            let native = programs.iter().find(|program| program.target.is_native());
            stage::texts(&release, native.context("the native program")?, &licences)?;
        }
        for program in programs.iter().filter(|program| targets.contains(&program.target)) {
            if self.makes(Kind::Packages) {
                stage::program(&release, program)?;
                packages::deb(&release, program.target, &release.version, &release.directory)?;
                packages::rpm(&release, program.target, &release.version, &release.directory)?;
            }
            if self.makes(Kind::Archive) {
                archive::make(&release, program)?;
            }
            if self.makes(Kind::Image) {
                image::make(&release, program, &licences)?;
            }
            if self.makes(Kind::Sbom) {
                sbom::make(&release, program.target)?;
            }
        }
        if self.makes(Kind::Source) {
            source::make(&release)?;
        }
        provenance::write(&release, &programs)?;
        release.list()?;
        if self.is_trial {
            trial::run(&release, Target::native()?, |kind| self.makes(kind))?;
        }
        // Everything else is known by now.
        programs.iter().try_for_each(Program::check_size)
    }

    fn makes(&self, kind: Kind) -> bool {
        self.only.is_empty() || self.only.contains(&kind)
    }
}
