//! The arguments of a program, without secrets.
//!
//! Secrets on command lines are common, and every user of a host can read them in `/proc`. A
//! journal keeps them longer. So the values that [`Arguments::new`] recognizes become `***` before
//! anything else sees them; docs/privileges.md has the list.

use std::borrow::Cow;

/// The most bytes of arguments that netmon keeps, before masking and quoting.
pub(crate) const MAX_ARGUMENTS: usize = netmon_common::ARGUMENTS;

/// The text in place of a secret.
const MASK: &[u8] = b"***";

/// The parts of a name that mean a secret, in lower case. `-` and `_` count as equal.
const SECRETS: [&[u8]; 13] = [
    b"password",
    b"passwd",
    b"passphrase",
    b"secret",
    b"token",
    b"credential",
    b"apikey",
    b"api-key",
    b"access-key",
    b"private-key",
    b"authorization",
    b"cookie",
    b"sshpass",
];

/// Options with a value `USER:PASSWORD`, as curl and wget have them.
const LOGINS: [&[u8]; 4] = [b"-u", b"--user", b"-U", b"--proxy-user"];

/// The arguments of a program, the first of which is its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arguments {
    /// The arguments, quoted as for a shell where they need quotes, with blanks between. Any bytes:
    /// escape them before showing.
    pub line: Box<[u8]>,
    /// The process has more arguments, or a longer last one.
    pub is_cut: bool,
}

impl Arguments {
    /// Reads arguments that end with a NUL each, the last of which may be cut off. `size` is the
    /// size of all arguments. Returns `None` without arguments.
    #[must_use]
    pub fn new(bytes: &[u8], size: usize) -> Option<Self> {
        let bytes = &bytes[..bytes.len().min(MAX_ARGUMENTS)];
        let is_cut = size > bytes.len();
        let bytes = if is_cut { bytes } else { bytes.strip_suffix(b"\0").unwrap_or(bytes) };
        if bytes.is_empty() {
            return None;
        }
        let mut line = Vec::with_capacity(bytes.len());
        let mut expects = Expects::Anything;
        for argument in bytes.split(|byte| *byte == 0) {
            if !line.is_empty() {
                line.push(b' ');
            }
            let (masked, next) = mask(argument, expects);
            put_quoted(&mut line, &masked);
            expects = next;
        }
        Some(Self { line: line.into(), is_cut })
    }
}

/// The meaning of the next argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expects {
    Anything,
    /// The value of an option that names a secret.
    Secret,
    /// A user with a password.
    Login,
}

/// Returns an argument without its secrets, and the meaning of the next argument.
fn mask(argument: &[u8], expects: Expects) -> (Cow<'_, [u8]>, Expects) {
    let is_option = argument.starts_with(b"-");
    match expects {
        // An option without a value may have such a name too.
        Expects::Secret if !is_option => return (MASK.into(), Expects::Anything),
        Expects::Login if !is_option => {
            let masked = split_at(argument, b':').map(|(user, _)| [user, b":", MASK].concat());
            return (masked.map_or(argument.into(), Into::into), Expects::Anything);
        }
        _ => {}
    }
    // NAME=VALUE and --name=VALUE; `Authorization: VALUE`, a header.
    for separator in [b'=', b':'] {
        if let Some((name, value)) = split_at(argument, separator)
            && is_secret(name)
            && !value.starts_with(b"//")
        {
            let blank: &[u8] = if value.starts_with(b" ") { b" " } else { b"" };
            return ([name, &[separator], blank, MASK].concat().into(), Expects::Anything);
        }
    }
    if is_option {
        let next = match argument {
            _ if LOGINS.contains(&argument) => Expects::Login,
            _ if is_secret(argument) && !argument.contains(&b'=') => Expects::Secret,
            _ => Expects::Anything,
        };
        return (without_login(argument), next);
    }
    (without_login(argument), Expects::Anything)
}

/// Returns the argument without the password of a URL, `scheme://user:password@host`.
fn without_login(argument: &[u8]) -> Cow<'_, [u8]> {
    let start = argument.windows(3).position(|bytes| bytes == b"://").map(|at| at + 3);
    let masked = start.and_then(|start| {
        let (before, rest) = argument.split_at(start);
        let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
        let at = rest[..end].iter().rposition(|byte| *byte == b'@')?;
        let (user, _) = split_at(&rest[..at], b':')?;
        Some([before, user, b":", MASK, &rest[at..]].concat())
    });
    masked.map_or(argument.into(), Into::into)
}

/// Splits at the first `separator`.
fn split_at(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == separator)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// Returns whether a name means a secret.
fn is_secret(name: &[u8]) -> bool {
    /// No name of an option is longer; the rest is a text that has a `=` or a `:`.
    const LONGEST: usize = 64;
    if name.len() > LONGEST || name.contains(&b'/') {
        return false;
    }
    let name: Vec<u8> = name
        .iter()
        .map(|byte| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() })
        .collect();
    SECRETS.iter().any(|secret| name.windows(secret.len()).any(|part| part == *secret))
}

/// Appends an argument, in single quotes if a shell would read it otherwise.
fn put_quoted(line: &mut Vec<u8>, argument: &[u8]) {
    let is_plain = |byte: &u8| !byte.is_ascii_whitespace() && !b"'\"\\$`;&|<>(){}".contains(byte);
    if !argument.is_empty() && argument.iter().all(is_plain) {
        line.extend(argument);
        return;
    }
    line.push(b'\'');
    for byte in argument {
        match byte {
            b'\'' => line.extend(b"'\\''"),
            byte => line.push(*byte),
        }
    }
    line.push(b'\'');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(arguments: &[&str]) -> String {
        let bytes: Vec<u8> = arguments.iter().flat_map(|text| text.bytes().chain([0])).collect();
        let arguments = Arguments::new(&bytes, bytes.len()).expect("arguments");
        assert!(!arguments.is_cut);
        String::from_utf8(arguments.line.into()).expect("UTF-8")
    }

    #[test]
    fn arguments_read_as_a_shell_takes_them() {
        assert_eq!(line(&["ls", "-l", "/tmp"]), "ls -l /tmp");
        assert_eq!(line(&["sh", "-c", "echo a b", ""]), "sh -c 'echo a b' ''");
        assert_eq!(line(&["echo", "it's"]), "echo 'it'\\''s'");
        assert_eq!(Arguments::new(b"", 0), None);
        assert_eq!(Arguments::new(b"\0", 1), None);
    }

    #[test]
    fn secrets_are_masked() {
        for (arguments, masked) in [
            (&["mysql", "--password=x"][..], "mysql --password=***"),
            (&["x", "--Token", "abc", "y"], "x --Token *** y"),
            (&["x", "--token", "--verbose", "y"], "x --token --verbose y"),
            (&["env", "AWS_SECRET_ACCESS_KEY=abc", "z"], "env AWS_SECRET_ACCESS_KEY=*** z"),
            (&["java", "-Ddb.password=abc"], "java -Ddb.password=***"),
            (&["curl", "-H", "Authorization: Bearer x"], "curl -H 'Authorization: ***'"),
            (&["curl", "-u", "me:secret", "h"], "curl -u me:*** h"),
            (&["sort", "-u", "file"], "sort -u file"),
            (&["git", "clone", "https://me:pw@host/x@y"], "git clone https://me:***@host/x@y"),
            (&["x", "--url=redis://:pw@host"], "x --url=redis://:***@host"),
            (&["x", "http://host/a:b@c"], "x http://host/a:b@c"),
            (&["cat", "/etc/passwd"], "cat /etc/passwd"),
        ] {
            assert_eq!(line(arguments), masked);
        }
    }

    #[test]
    fn arguments_that_are_cut_off_say_so() {
        let bytes = [b'a'; 600];
        let arguments = Arguments::new(&bytes, 2_000_000).expect("arguments");
        assert!(arguments.is_cut);
        assert_eq!(arguments.line.len(), MAX_ARGUMENTS);
        let arguments = Arguments::new(b"x\0--password=ab", 100).expect("arguments");
        assert_eq!(&*arguments.line, b"x --password=***");
    }

    proptest! {
        #[test]
        fn any_bytes_are_bounded(bytes: Vec<u8>, size: usize) {
            if let Some(arguments) = Arguments::new(&bytes, size) {
                // Quotes take four bytes for one, and two for each argument.
                prop_assert!(arguments.line.len() <= 4 * MAX_ARGUMENTS + 2);
                prop_assert!(!arguments.line.contains(&0));
            }
        }
    }
}
