//! The graph of imports: at each level the modules that lie side by side import one another without
//! a circle, and where floors are named, only downwards.
//!
//! A module and the modules within it are one whole: an arrow between them does not count. Neither
//! does one from a test.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Item, ItemMod, Macro, UseTree,
    visit::{self, Visit},
};

/// A path of modules from the root of a crate.
type ModulePath = Vec<String>;

/// Imports that are followed from one re-export to the next at most.
const LONGEST_CHAIN: usize = 16;

/// The modules of a crate, and what they import.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    modules: BTreeMap<ModulePath, Module>,
}

#[derive(Debug, Default)]
struct Module {
    file: PathBuf,
    /// Names that it imports, and where from.
    imports: BTreeMap<String, ModulePath>,
    /// Every path that it names, from the root of the crate.
    paths: BTreeSet<ModulePath>,
}

/// An import of one module that lies beside another, below the same parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrow {
    /// The parent of both.
    pub(crate) level: String,
    /// The module that imports, and the one that is imported.
    pub(crate) from: String,
    pub(crate) to: String,
    /// A file with the import.
    pub(crate) file: PathBuf,
}

impl Graph {
    /// Reads the sources of a crate.
    ///
    /// # Errors
    /// When a file cannot be read, or is no Rust.
    pub(crate) fn read(source: &Path) -> anyhow::Result<Self> {
        let mut graph = Self::default();
        graph.add(source, source)?;
        graph.leave_out_tests();
        Ok(graph)
    }

    fn add(&mut self, source: &Path, directory: &Path) -> anyhow::Result<()> {
        for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                self.add(source, &path)?;
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path)?;
                let module = module_of(path.strip_prefix(source)?);
                let file = syn::parse_file(&text).with_context(|| path.display().to_string())?;
                let mut reader = PathReader { at: module.clone(), module: Module::default() };
                reader.module.file = path;
                reader.visit_file(&file);
                self.modules.entry(module).or_default().merge(reader.module);
            }
        }
        Ok(())
    }

    /// Files that are there only for tests are named by `mod` in another, with `#[cfg(test)]`.
    fn leave_out_tests(&mut self) {
        let tests = |module: &ModulePath| {
            matches!(module.last().map(String::as_str), Some("tests" | "properties"))
                || module.iter().any(|name| name == "tests")
        };
        self.modules.retain(|module, _| !tests(module));
    }

    /// How many files there are.
    pub(crate) fn files(&self) -> usize {
        self.modules.len()
    }

    /// Every arrow, once for each pair of modules.
    pub(crate) fn arrows(&self) -> Vec<Arrow> {
        let mut arrows: Vec<Arrow> = Vec::new();
        for (module, read) in &self.modules {
            for path in &read.paths {
                let Some(to) = self.resolve(path, LONGEST_CHAIN) else { continue };
                let common = module.iter().zip(&to).take_while(|(a, b)| a == b).count();
                let (Some(from), Some(to)) = (module.get(common), to.get(common)) else { continue };
                let level = module[..common].join("::");
                let is_it =
                    |arrow: &Arrow| arrow.level == level && arrow.from == *from && arrow.to == *to;
                if !arrows.iter().any(is_it) {
                    let (from, to, file) = (from.clone(), to.clone(), read.file.clone());
                    arrows.push(Arrow { level, from, to, file });
                }
            }
        }
        arrows
    }

    /// The module that has what a path names, re-exports followed.
    fn resolve(&self, path: &[String], chain: usize) -> Option<ModulePath> {
        let length = (0..=path.len()).rev().find(|n| self.modules.contains_key(&path[..*n]))?;
        let (module, rest) = path.split_at(length);
        let import = rest.first().and_then(|name| self.modules[module].imports.get(name));
        match (import, chain.checked_sub(1)) {
            (Some(import), Some(chain)) if import[..] != *path => {
                let path: ModulePath = import.iter().chain(&rest[1..]).cloned().collect();
                self.resolve(&path, chain)
            }
            _ => Some(module.to_vec()),
        }
    }
}

impl Module {
    fn merge(&mut self, other: Self) {
        self.file = other.file;
        self.imports.extend(other.imports);
        self.paths.extend(other.paths);
    }
}

/// The module that a file is, by its path below the sources.
fn module_of(file: &Path) -> ModulePath {
    let name = file.with_extension("");
    let mut module: ModulePath =
        name.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        module.pop();
    }
    module
}

/// The arrows of each circle, in the order of the circle.
pub(crate) fn circles(arrows: &[Arrow]) -> Vec<Vec<Arrow>> {
    let mut circles = Vec::new();
    let mut known: BTreeSet<(String, String)> = BTreeSet::new();
    for arrow in arrows {
        if known.contains(&(arrow.level.clone(), arrow.from.clone())) {
            continue;
        }
        if let Some(back) = way(arrows, &arrow.level, &arrow.to, &arrow.from) {
            let circle: Vec<Arrow> = std::iter::once(arrow.clone()).chain(back).collect();
            known.extend(circle.iter().map(|arrow| (arrow.level.clone(), arrow.from.clone())));
            circles.push(circle);
        }
    }
    circles
}

/// The shortest way from one module to another.
fn way(arrows: &[Arrow], level: &str, from: &str, to: &str) -> Option<Vec<Arrow>> {
    let mut ways: Vec<Vec<Arrow>> = vec![Vec::new()];
    let mut reached = BTreeSet::from([from.to_owned()]);
    if from == to {
        return Some(Vec::new());
    }
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let at = way.last().map_or(from, |arrow| &arrow.to).to_owned();
            for arrow in arrows.iter().filter(|arrow| arrow.level == level && arrow.from == at) {
                let way: Vec<Arrow> = way.iter().chain([arrow]).cloned().collect();
                if arrow.to == to {
                    return Some(way);
                }
                if reached.insert(arrow.to.clone()) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}

/// Modules below one parent: each floor may import those below it, not its own.
pub(crate) struct Floors {
    /// The parent.
    pub(crate) level: &'static str,
    /// From the ground up.
    pub(crate) floors: &'static [&'static [&'static str]],
}

/// The arrows that go up, or across a floor.
pub(crate) fn upward(arrows: &[Arrow], floors: &Floors) -> Vec<Arrow> {
    let floor = |name: &str| floors.floors.iter().position(|floor| floor.contains(&name));
    let goes_up = |arrow: &&Arrow| {
        arrow.level == floors.level
            && match (floor(&arrow.from), floor(&arrow.to)) {
                (Some(from), Some(to)) => from <= to,
                // A module that is on no floor has no place.
                _ => true,
            }
    };
    arrows.iter().filter(goes_up).cloned().collect()
}

/// Gathers the paths of a file.
struct PathReader {
    /// The module that is read, inline modules included.
    at: ModulePath,
    module: Module,
}

impl PathReader {
    /// The path from the root of the crate; nothing for a path of another crate.
    fn absolute(&self, path: &[String]) -> Option<ModulePath> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some(self.at.iter().chain(rest).cloned().collect()),
            "super" => {
                let ups = path.iter().take_while(|name| *name == "super").count();
                let base = &self.at[..self.at.len().checked_sub(ups)?];
                Some(base.iter().chain(&path[ups..]).cloned().collect())
            }
            _ => None,
        }
    }

    fn name(&mut self, path: &[String]) {
        if let Some(path) = self.absolute(path) {
            self.module.paths.insert(path);
        }
    }

    fn import(&mut self, tree: &UseTree, before: &[String]) {
        let joined = |name: &syn::Ident| {
            let name = name.to_string();
            let is_self = name == "self" && !before.is_empty();
            before.iter().cloned().chain((!is_self).then_some(name)).collect::<ModulePath>()
        };
        match tree {
            UseTree::Path(path) => self.import(&path.tree, &joined(&path.ident)),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, before)),
            UseTree::Glob(_) => self.name(before),
            UseTree::Name(name) => self.import_as(&joined(&name.ident), None),
            UseTree::Rename(rename) => {
                self.import_as(&joined(&rename.ident), Some(rename.rename.to_string()));
            }
        }
    }

    fn import_as(&mut self, path: &[String], name: Option<String>) {
        let name = name.or_else(|| path.last().cloned());
        // A path without `crate` or `super` is of another crate, or of a module within this one.
        let absolute =
            self.absolute(path).unwrap_or_else(|| self.at.iter().chain(path).cloned().collect());
        self.name(path);
        if let Some(name) = name {
            self.module.imports.insert(name, absolute);
        }
    }

    /// Paths that a macro is given, which are tokens to the parser.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: ModulePath = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if path.is_empty() || colons == 2 => {
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => {
                    colons += 1;
                }
                other => {
                    self.name(&std::mem::take(&mut path));
                    colons = 0;
                    match other {
                        TokenTree::Group(group) => self.tokens(group.stream()),
                        TokenTree::Ident(ident) => path.push(ident.to_string()),
                        _ => {}
                    }
                }
            }
        }
        self.name(&path);
    }
}

impl<'ast> Visit<'ast> for PathReader {
    fn visit_item(&mut self, item: &'ast Item) {
        if !attributes(item).iter().any(is_for_tests) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        self.at.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.at.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.import(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: ModulePath =
            path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if names.len() > 1 {
            self.name(&names);
        }
        visit::visit_path(self, path);
    }

    // `pub(in crate::journal)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_macro(&mut self, node: &'ast Macro) {
        self.tokens(node.tokens.clone());
        visit::visit_macro(self, node);
    }
}

fn is_for_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Ident>().is_ok_and(|what| what == "test")
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Mod(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Const(item) => &item.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests;
