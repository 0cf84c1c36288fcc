//! The arguments of a program, without secrets.
//!
//! Secrets on command lines are common, and every user of a host can read them in `/proc`. A
//! journal keeps them longer. So the values that [`Arguments::new`] recognizes become `***` before
//! anything else sees them; docs/privileges.md has the list.

use std::borrow::Cow;

/// The most bytes of arguments that netmon keeps, before masking and quoting, and after.
pub(crate) const MAX_ARGUMENTS: usize = netmon_common::ARGUMENTS;

/// The text in place of a secret.
const MASK: &[u8] = b"***";

/// The parts of a name that mean a secret, in lower case. `-` and `_` count as equal.
const SECRETS: [&[u8]; 16] = [
    b"password",
    b"passwd",
    b"passphrase",
    b"passin",
    b"passout",
    b"pwd",
    b"secret",
    b"token",
    b"credential",
    b"apikey",
    b"api-key",
    b"access-key",
    b"private-key",
    b"authorization",
    b"signature",
    b"cookie",
];

/// Options with a value `USER:PASSWORD`, as curl and wget have them.
const LOGINS: [&[u8]; 4] = [b"-u", b"--user", b"-U", b"--proxy-user"];

/// Beginnings of programs' names, their option with a password, and whether the password may be the
/// next argument.
const PASSWORDS: [(&[u8], &[u8], bool); 7] = [
    (b"sshpass", b"-p", true),
    (b"mysql", b"-p", false),
    (b"mariadb", b"-p", false),
    (b"redis-cli", b"-a", true),
    (b"ldap", b"-w", true),
    (b"zip", b"-P", true),
    (b"unzip", b"-P", true),
];

/// The arguments of a program, the first of which is its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arguments {
    /// The arguments with blanks between, in quotes where an argument has blanks, quotes or a
    /// shell's operators. Any bytes: escape them before showing.
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
        let mut arguments = bytes.split(|byte| *byte == 0).peekable();
        let program = arguments.peek().and_then(|path| path.rsplit(|byte| *byte == b'/').next());
        let option =
            PASSWORDS.iter().find(|(name, ..)| program.is_some_and(|p| p.starts_with(name)));
        while let Some(argument) = arguments.next() {
            if !line.is_empty() {
                line.push(b' ');
            }
            // The end of an argument that was cut off may have been its `@`.
            let is_whole = !is_cut || arguments.peek().is_some();
            let own = option.and_then(|(_, option, in_next)| password(argument, option, *in_next));
            let (masked, next) = own.unwrap_or_else(|| mask(argument, expects, is_whole));
            put_quoted(&mut line, &masked);
            expects = next;
        }
        // Each quote of an argument takes four bytes here.
        let is_cut = is_cut || line.len() > MAX_ARGUMENTS;
        line.truncate(MAX_ARGUMENTS);
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

/// Returns the argument without the password that follows `option`, and the meaning of the next
/// argument; nothing if this argument is another option.
fn password<'a>(
    argument: &'a [u8],
    option: &[u8],
    in_next: bool,
) -> Option<(Cow<'a, [u8]>, Expects)> {
    match argument.strip_prefix(option)? {
        [] if in_next => Some((argument.into(), Expects::Secret)),
        [] => None,
        _ => Some(([option, MASK].concat().into(), Expects::Anything)),
    }
}

/// Returns an argument without its secrets, and the meaning of the next argument.
fn mask(argument: &[u8], expects: Expects, is_whole: bool) -> (Cow<'_, [u8]>, Expects) {
    let is_option = argument.starts_with(b"-");
    match expects {
        // An option without a value may have such a name too.
        Expects::Secret if !is_option => return (MASK.into(), Expects::Anything),
        Expects::Login if !is_option => return (login(b"", argument), Expects::Anything),
        _ => {}
    }
    // NAME=VALUE and --name=VALUE; `Authorization: VALUE`, a header; members of JSON.
    for (at, separator) in argument.iter().enumerate() {
        let (before, value) = (&argument[..at], &argument[at + 1..]);
        let is_scheme = *separator == b':' && value.starts_with(b"//");
        if b"=:".contains(separator) && is_secret(last_word(before)) && !is_scheme {
            let blank: &[u8] = if value.starts_with(b" ") { b" " } else { b"" };
            let before = without_login(before, true);
            let masked = [&*before, &[*separator], blank, MASK].concat();
            return (masked.into(), Expects::Anything);
        }
    }
    if !is_option {
        return (without_login(argument, is_whole), Expects::Anything);
    }
    for option in LOGINS {
        // `-ume:password`, `--user=me:password`.
        match argument.strip_prefix(option) {
            Some([]) => return (argument.into(), Expects::Login),
            Some(value) if !option.starts_with(b"--") || value.starts_with(b"=") => {
                return (login(option, value), Expects::Anything);
            }
            _ => {}
        }
    }
    let has_value = argument.contains(&b'=');
    let next = if !has_value && is_secret(argument) { Expects::Secret } else { Expects::Anything };
    (without_login(argument, is_whole), next)
}

/// Returns an option with the value `USER:PASSWORD` without the password.
fn login<'a>(option: &[u8], value: &'a [u8]) -> Cow<'a, [u8]> {
    match split_at(value, b':') {
        Some((user, _)) => [option, user, b":", MASK].concat().into(),
        None if option.is_empty() => value.into(),
        None => [option, value].concat().into(),
    }
}

/// Returns the name at the end of a text: an argument may be a command of a shell, a URL or JSON.
fn last_word(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii_end();
    let text = text.strip_suffix(b"\"").unwrap_or(text);
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || b"&;,?\"'{(=:".contains(byte);
    text.rsplit(is_end).next().unwrap_or_default()
}

/// Returns the argument without the passwords of URLs, `scheme://user:password@host`, and without
/// the tokens of `https://token@host`. An argument that is not whole may lack its `@`.
fn without_login(argument: &[u8], is_whole: bool) -> Cow<'_, [u8]> {
    const SCHEME_END: &[u8] = b"://";
    let mut masked = Vec::new();
    // The part before this place is in `masked`.
    let mut done = 0;
    let urls = argument.windows(SCHEME_END.len()).enumerate();
    for (scheme, _) in urls.filter(|(_, bytes)| *bytes == SCHEME_END) {
        let start = scheme + SCHEME_END.len();
        let rest = &argument[start..];
        let is_web =
            argument[..scheme].ends_with(b"http") || argument[..scheme].ends_with(b"https");
        // libpq takes `?` and `#` in a password.
        let is_end = |byte: &u8| {
            byte.is_ascii_whitespace() || *byte == b'/' || is_web && b"?#".contains(byte)
        };
        let end = rest.iter().position(is_end);
        let authority = &rest[..end.unwrap_or(rest.len())];
        let at = authority.iter().rposition(|byte| *byte == b'@');
        let may_lack_at = !is_whole && end.is_none() && authority.contains(&b':');
        let at = at.or_else(|| may_lack_at.then_some(authority.len()));
        let Some(at) = at else { continue };
        let user = match split_at(&authority[..at], b':') {
            Some((user, _)) => [user, b":"].concat(),
            None if is_web => Vec::new(),
            None => continue,
        };
        masked.extend([&argument[done..start], &user[..], MASK].concat());
        done = start + at;
    }
    if done == 0 {
        return argument.into();
    }
    masked.extend(&argument[done..]);
    masked.into()
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
    let is_pass = name == b"pass" || name.ends_with(b"-pass");
    is_pass || SECRETS.iter().any(|secret| name.windows(secret.len()).any(|part| part == *secret))
}

/// Appends an argument, in single quotes if its end would not be clear.
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
            (&["curl", "-H", "Authorization: Basic eDp5=="], "curl -H 'Authorization: ***'"),
            (&["sh", "-c", "/bin/x --password=x db"], "sh -c '/bin/x --password=***'"),
            (&["sh", "-c", "cd /srv && TOKEN=x ./run"], "sh -c 'cd /srv && TOKEN=***'"),
            (&["curl", "https://h/x?access_token=x"], "curl https://h/x?access_token=***"),
            (&["env", "MYSQL_PWD=x", "mysql"], "env MYSQL_PWD=*** mysql"),
            (&["env", "DB_PASS=//x", "a"], "env DB_PASS=*** a"),
            (&["psql", "pg://u:p#w?@h/db"], "psql pg://u:***@h/db"),
            (&["curl", "-u", "me:secret", "h"], "curl -u me:*** h"),
            (&["curl", "--user=me:secret", "h"], "curl --user=me:*** h"),
            (&["curl", "-ume:secret", "h"], "curl -ume:*** h"),
            (&["curl", "-d", "user=a&password=b"], "curl -d 'user=a&password=***'"),
            (&["curl", "-d", "{\"a\": 1, \"pass\": \"b\"}"], "curl -d '{\"a\": 1, \"pass\": ***'"),
            (&["psql", "host=h password=p"], "psql 'host=h password=***'"),
            (&["x", "--pass", "abc", "--passive"], "x --pass *** --passive"),
            (&["openssl", "-passin", "pass:abc"], "openssl -passin ***"),
            (&["/usr/bin/sshpass", "-p", "abc", "ssh", "h"], "/usr/bin/sshpass -p *** ssh h"),
            (&["sshpass", "-pabc", "ssh", "-p", "22"], "sshpass -p*** ssh -p ***"),
            (&["mysql", "-pabc", "-p", "db"], "mysql -p*** -p db"),
            (&["git", "clone", "https://ghp_abc@host/x"], "git clone https://***@host/x"),
            (&["git", "clone", "ssh://git@host/x"], "git clone ssh://git@host/x"),
            (&["x", "https://me:pw@h/?token=x"], "x https://me:***@h/?token=***"),
            (&["sh", "-c", "a http://h/; b pg://u:p@db"], "sh -c 'a http://h/; b pg://u:***@db'"),
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
        let quotes = Arguments::new(&[b'\''; 512], 512).expect("arguments");
        assert_eq!((quotes.is_cut, quotes.line.len()), (true, MAX_ARGUMENTS));
        let arguments = Arguments::new(b"x\0--password=ab", 100).expect("arguments");
        assert_eq!(&*arguments.line, b"x --password=***");
        let arguments = Arguments::new(b"x\0https://me:sec", 100).expect("arguments");
        assert_eq!(&*arguments.line, b"x https://me:***");
    }

    proptest! {
        #[test]
        fn any_bytes_are_bounded(bytes: Vec<u8>, size: usize) {
            if let Some(arguments) = Arguments::new(&bytes, size) {
                prop_assert!(arguments.line.len() <= MAX_ARGUMENTS);
                prop_assert!(!arguments.line.contains(&0));
            }
        }
    }
}
