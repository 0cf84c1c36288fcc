//! Programs, and the processes that run them.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use netmon_common::Namespaces;

use super::{arguments::Arguments, time::Wall};

/// The most ancestors of a process that netmon keeps.
pub(crate) const MAX_ANCESTORS: usize = 4;

/// The program that a process runs, from its exec to the next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Program {
    /// Path of the executable, any bytes: escape them before showing. The path of a memfd is
    /// `memfd:NAME`. A path whose first names are not known begins with `…/`.
    pub path: Box<[u8]>,
    /// No directory had the file when the program began, or at the last look at `/proc`.
    pub is_deleted: bool,
    /// The arguments; none where they are not known, or not wanted.
    pub arguments: Option<Arguments>,
}

impl Program {
    /// Returns the name of the file, the last name of the path.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }

    /// Returns whether two paths may be that of one file: the first names of a path may not be
    /// known.
    fn may_be(&self, other: &Self) -> bool {
        let cut = "…".as_bytes();
        match (self.path.strip_prefix(cut), other.path.strip_prefix(cut)) {
            (Some(last), None) => other.path.ends_with(last),
            (None, Some(last)) => self.path.ends_with(last),
            _ => self.path == other.path,
        }
    }
}

/// The login that led to a process, as the kernel's audit keeps it: children keep the login of
/// their parent, whatever user they become.
#[derive(Clone, Debug)]
pub struct Login {
    /// The user who logged in, in the initial user namespace.
    pub uid: u32,
    /// The number of the login since the boot.
    pub session: u32,
    /// The name of that user at that time, from a journal. The name is no part of the identity: it
    /// may not come in time for each row.
    pub user: Option<Arc<str>>,
}

impl PartialEq for Login {
    fn eq(&self, other: &Self) -> bool {
        (self.uid, self.session) == (other.uid, other.session)
    }
}

impl Eq for Login {}

impl Hash for Login {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.uid, self.session).hash(state);
    }
}

impl Login {
    /// Returns the login with the kernel's numbers; none for a process that no login led to.
    pub(crate) fn new(uid: u32, session: u32) -> Option<Self> {
        (uid != netmon_common::NO_LOGIN).then_some(Self { uid, session, user: None })
    }
}

/// A process that netmon has followed from its beginning, or has found in `/proc`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KnownProcess {
    /// The start, rounded down to the kernel's ticks of 10 ms, in wall time as known to this
    /// session. With the number of the process, its identity.
    pub started: Wall,
    /// The number of the process that forked it, as in [`Owner::pid`]; of a process from before
    /// netmon began, its parent of then. 0 where unknown.
    ///
    /// [`Owner::pid`]: super::process::Owner::pid
    pub parent: u32,
    /// The mark of its program among those that the process has run ([`netmon_common::run`]); 0
    /// where `/proc` or a journal alone knows the program.
    pub run: u32,
    /// The program; none where it is not known.
    pub program: Option<Arc<Program>>,
    /// The login that led to it, when it began its program; none where there is none, or where it
    /// is not known.
    pub login: Option<Login>,
    /// The namespaces that it was in when it began its program, or at the last look at `/proc`.
    pub namespaces: Namespaces,
    /// The processes above, the parent first, `MAX_ANCESTORS` at most, with the programs that
    /// they ran when the process began.
    pub ancestors: Box<[Ancestor]>,
}

impl KnownProcess {
    /// Makes a process of which only the start is known.
    #[must_use]
    pub fn started_at(started: Wall) -> Self {
        Self {
            started,
            parent: 0,
            run: 0,
            program: None,
            login: None,
            namespaces: Namespaces::default(),
            ancestors: Box::default(),
        }
    }

    /// Returns the path of the executable that the parent ran when the process began, if known.
    pub(crate) fn parent_path(&self) -> Option<&[u8]> {
        let parent = self.ancestors.first().filter(|first| first.pid == self.parent)?;
        Some(&parent.program.path)
    }
}

/// Returns whether two processes, or one at two moments, run the same program, as far as is known.
pub(crate) fn run_the_same(
    is_one_process: bool,
    one: Option<&KnownProcess>,
    two: Option<&KnownProcess>,
) -> bool {
    let (Some(one), Some(two)) = (one, two) else { return true };
    if is_one_process && one.run != 0 && two.run != 0 && one.run != two.run {
        return false;
    }
    let (Some(first), Some(second)) = (&one.program, &two.program) else { return true };
    // A copy of a process shares its program.
    Arc::ptr_eq(first, second) || first.may_be(second)
}

/// Returns ancestors as text: a line for each, with its number and the path of its executable.
/// Anything but UTF-8 is replaced.
pub(crate) fn ancestors_text(ancestors: &[Ancestor]) -> Option<String> {
    let line = |Ancestor { pid, program }: &Ancestor| {
        format!("{pid} {}", String::from_utf8_lossy(&program.path))
    };
    let lines: Vec<_> = ancestors.iter().map(line).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Returns the ancestors of a text; a line that is none is left out.
pub(crate) fn ancestors_of(text: &str) -> Box<[Ancestor]> {
    let ancestor = |line: &str| {
        let (pid, path) = line.split_once(' ')?;
        let (path, is_deleted, arguments) = (path.as_bytes().into(), false, None);
        let program = Arc::new(Program { path, is_deleted, arguments });
        Some(Ancestor::new(pid.parse().ok()?, program))
    };
    // Not `lines`: a path may end with a carriage return.
    text.split('\n').filter_map(ancestor).take(MAX_ANCESTORS).collect()
}

/// A process that may be above another, as `/proc` has it.
#[derive(Clone, Debug)]
pub(crate) struct Above {
    /// Its program.
    pub program: Arc<Program>,
    /// The number of its parent.
    pub parent: u32,
    /// Its start, in ticks since the boot.
    pub started: u64,
}

/// Returns the processes above one that started at `started` and has this `parent`, the parent
/// first. `look` returns the process with a number; none ends the list. So does one that started
/// after its child: the number of the parent was given again.
pub(crate) fn ancestors_above(
    parent: u32,
    mut started: u64,
    mut look: impl FnMut(u32) -> Option<Above>,
) -> Box<[Ancestor]> {
    let mut ancestors = Vec::new();
    let mut pid = parent;
    while ancestors.len() < MAX_ANCESTORS
        && let Some(above) = look(pid).filter(|above| above.started <= started)
    {
        ancestors.push(Ancestor::new(pid, above.program));
        (pid, started) = (above.parent, above.started);
    }
    ancestors.into()
}

/// A process above another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ancestor {
    /// As in [`Owner::pid`](super::process::Owner::pid).
    pub pid: u32,
    /// Its program. A line break in the path is replaced: no path looks like two ancestors.
    pub program: Arc<Program>,
}

impl Ancestor {
    pub(crate) fn new(pid: u32, program: Arc<Program>) -> Self {
        if !program.path.contains(&b'\n') {
            return Self { pid, program };
        }
        let lines: Vec<_> = program.path.split(|byte| *byte == b'\n').collect();
        let path = lines.join("\u{fffd}".as_bytes()).into();
        Self { pid, program: Arc::new(Program { path, ..(*program).clone() }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_look_like_two_ancestors() {
        let ancestor = |pid, path: &[u8]| {
            let (path, is_deleted, arguments) = (path.into(), false, None);
            Ancestor::new(pid, Arc::new(Program { path, is_deleted, arguments }))
        };
        let plain = [ancestor(790, b"/usr/bin/my shell"), ancestor(1, b"/sbin/init")];
        let text = ancestors_text(&plain).expect("two");
        assert_eq!(text, "790 /usr/bin/my shell\n1 /sbin/init");
        assert_eq!(*ancestors_of(&text), plain);
        let hostile = [ancestor(7, "/tmp/a\n1 /sbin/in\u{e9}t\r".as_bytes()), ancestor(1, b"/b")];
        assert_eq!(*ancestors_of(&ancestors_text(&hostile).expect("two")), hostile);
        assert_eq!(*hostile[0].program.path, *"/tmp/a\u{fffd}1 /sbin/in\u{e9}t\r".as_bytes());
        assert_eq!(ancestors_text(&[]), None);
        assert!(ancestors_of("").is_empty() && ancestors_of("x /a\n").is_empty());
    }
}
