//! `netmon completions`: scripts by which shells complete the command line of netmon.
//!
//! The scripts complete commands and flags on their own. For the words of a filter they run
//! `netmon completions --words WORD …`, which prints the words that may complete the last one.

use std::{ffi::OsString, io::Write};

use clap::{Arg, ArgGroup, Args, Command, ValueEnum, ValueHint};
use clap_complete::{Shell, generate};

use super::{help::TOPICS, io::stdout::Stdout, names::LocalNames, usage::command_of};
use crate::core::filter::{RowKind, complete};

/// The arguments whose values netmon completes itself: filters, and topics of the help.
const COMPLETED: [&str; 2] = ["filter", "words"];
/// The action of zsh that stands for such an argument until [`script`] replaces it.
const PLACE_OF_WORDS: (ValueHint, &str) = (ValueHint::CommandString, ":_cmdstring'");

/// Print a script that completes netmon's command line in a shell
///
/// The script completes the words of a filter too: `state est` becomes `state established`. For the
/// running bash alone: `source <(netmon completions bash)`.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct CompletionsCommand {
    /// Shell that is to run the script
    #[arg(value_enum, required_unless_present = "line")]
    shell: Option<CompletedShell>,
    /// Words of a command line; the last one is to be completed
    #[arg(long = "words", id = "line", value_name = "WORD", num_args = 1.., hide = true)]
    #[arg(allow_hyphen_values = true)]
    line: Option<Vec<OsString>>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CompletedShell {
    /// For /usr/share/bash-completion/completions/netmon
    Bash,
    /// For _netmon in a directory of fpath
    Zsh,
    /// For ~/.config/fish/completions/netmon.fish
    Fish,
}

const EXAMPLES: &str = "\
Examples:
  netmon completions bash > ~/.local/share/bash-completion/completions/netmon
  netmon completions zsh > ~/.zfunc/_netmon
  netmon completions fish > ~/.config/fish/completions/netmon.fish";

impl CompletionsCommand {
    pub(super) fn run(self, mut root: Command) -> anyhow::Result<()> {
        let mut out = Stdout::lock();
        if let Some(shell) = self.shell {
            out.write_all(script(shell, &root).as_bytes())?;
        }
        if let Some(line) = self.line {
            // Only then a command has the flags of every command.
            root.build();
            for word in candidates(&root, line) {
                writeln!(out, "{word}")?;
            }
        }
        Ok(out.flush()?)
    }
}

/// Returns the script for a shell: that of clap, and a function for the words that netmon knows.
fn script(shell: CompletedShell, root: &Command) -> String {
    let (shell, words) = match shell {
        CompletedShell::Bash => (Shell::Bash, include_str!("completions/words.bash")),
        CompletedShell::Zsh => (Shell::Zsh, include_str!("completions/words.zsh")),
        CompletedShell::Fish => (Shell::Fish, include_str!("completions/words.fish")),
    };
    let name = root.get_name();
    let mut bytes = Vec::new();
    generate(shell, &mut visible(root).version(env!("CARGO_PKG_VERSION")), name, &mut bytes);
    let script = String::from_utf8_lossy(&bytes);
    match shell {
        Shell::Bash => {
            let (functions, registration) = script.split_once("\nif [[").unwrap_or((&*script, ""));
            let registration = registration.replace("-F _netmon ", "-F _netmon_words ");
            format!("{functions}\n{words}if [[{registration}")
        }
        Shell::Zsh => {
            let script = script.replace(PLACE_OF_WORDS.1, ":_netmon_words'");
            // With two colons, the function would not see the words before the filter.
            let script = script.replace("'*::filter", "'*:filter").replace("'*::words", "'*:words");
            script.replacen("_netmon() {", &format!("{words}_netmon() {{"), 1)
        }
        _ => {
            let is_completed = |command: &&Command| command.get_arguments().any(completes);
            let commands = root.get_subcommands().filter(is_completed).map(Command::get_name);
            script.into_owned()
                + &words.replace("COMMANDS", &commands.collect::<Vec<_>>().join(" "))
        }
    }
}

fn completes(arg: &Arg) -> bool {
    COMPLETED.iter().any(|id| arg.get_id() == id)
}

/// Returns a command without hidden commands and arguments, which clap's scripts would complete.
fn visible(command: &Command) -> Command {
    let (hidden, args): (Vec<_>, Vec<_>) =
        command.get_arguments().cloned().partition(Arg::is_hide_set);
    // Other arguments may refer to a hidden one. An empty group takes its place.
    let groups = hidden.iter().map(|arg| ArgGroup::new(arg.get_id().clone()));
    let below = command.get_subcommands().filter(|below| !below.is_hide_set());
    let mut copy = Command::new(command.get_name().to_owned())
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .args(args.into_iter().map(hinted))
        .groups(groups)
        .subcommands(below.map(visible));
    if let Some(about) = command.get_about() {
        copy = copy.about(about.clone());
    }
    copy
}

/// Returns an argument with a hint about its values. Without a hint, shells would offer files.
fn hinted(arg: Arg) -> Arg {
    if completes(&arg) {
        return arg.value_hint(PLACE_OF_WORDS.0);
    }
    let is_free = arg.get_action().takes_values() && arg.get_possible_values().is_empty();
    match arg.get_value_hint() {
        ValueHint::Unknown if is_free => arg.value_hint(ValueHint::Other),
        _ => arg,
    }
}

/// Returns the words that may complete the last one of a command line without its first word.
fn candidates(root: &Command, mut line: Vec<OsString>) -> Vec<String> {
    let last = line.pop().unwrap_or_default();
    let Some(last) = last.to_str().filter(|last| !last.starts_with('-')) else { return Vec::new() };
    let is_past = line.iter().any(|word| word.to_str().is_some_and(|w| w.starts_with("--at")));
    let (command, words) = command_of(root, line);
    let words: Option<Vec<_>> = words.iter().map(|word| word.to_str()).collect();
    let Some(mut words) = words.and_then(|words| free_words(command, &words)) else {
        return Vec::new();
    };
    match command.get_positionals().find(|arg| completes(arg)).map(Arg::get_id) {
        Some(id) if id == "words" && words.is_empty() => {
            let commands = root.get_subcommands().filter(|below| !below.is_hide_set());
            let names =
                commands.map(Command::get_name).chain(TOPICS.iter().map(|topic| topic.name));
            names.filter(|name| name.starts_with(last)).map(str::to_owned).collect()
        }
        Some(id) if id == "filter" => {
            words.push(last);
            let text = words.join(" ");
            let rows = match (command.get_name(), is_past) {
                ("snapshot", false) => RowKind::Socket,
                ("snapshot", true) => RowKind::PastSocket,
                _ => RowKind::Connection,
            };
            let completion = complete(&text, &LocalNames::new(), rows);
            // A shell replaces the whole word, which may have several words of a filter in quotes.
            let begun = text.get(text.len() - last.len()..completion.at).unwrap_or_default();
            completion.words.iter().map(|word| format!("{begun}{word}")).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns the words that are neither flags nor their values; nothing if the next word is the value
/// of a flag.
fn free_words<'a>(command: &Command, words: &[&'a str]) -> Option<Vec<&'a str>> {
    let (mut free, mut are_all_free, mut is_value) = (Vec::new(), false, false);
    for word in words {
        if std::mem::take(&mut is_value) {
            continue;
        }
        match *word {
            "--" if !are_all_free => are_all_free = true,
            flag if flag.starts_with('-') && !are_all_free => is_value = takes_next(command, flag),
            word => free.push(word),
        }
    }
    (!is_value).then_some(free)
}

/// Returns whether a flag takes the next word as its value: `--netns`, or `-tn` by its last letter.
fn takes_next(command: &Command, flag: &str) -> bool {
    let takes = |arg: &Arg| arg.get_action().takes_values() && !arg.is_require_equals_set();
    let mut args = command.get_arguments();
    match flag.strip_prefix("--") {
        Some(long) => args.any(|arg| arg.get_long() == Some(long) && takes(arg)),
        None => args.any(|arg| flag.chars().last() == arg.get_short() && takes(arg)),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::{Cli, help::layout};

    fn completed(line: Vec<OsString>) -> Vec<String> {
        let mut root = layout(Cli::command());
        root.build();
        candidates(&root, line)
    }

    fn of(line: &str) -> Vec<String> {
        completed(line.split(' ').map(OsString::from).collect())
    }

    #[test]
    fn a_filter_is_completed_after_any_flags() {
        let lines = [
            "snapshot state est",
            "-tan state est",
            "snapshot -c 5 -t state est",
            "snapshot --netns self --color never state est",
            "-v watch state est",
            "history --from yesterday -- state est",
            "top state est",
        ];
        for line in lines {
            assert_eq!(of(line), ["established"], "{line}");
        }
    }

    #[test]
    fn a_whole_word_is_completed() {
        assert_eq!(of("history verdict=ref"), ["verdict=refused"]);
        assert_eq!(of("history verdict in refused,tim"), ["refused,timed-out"]);
        let mut line = vec![OsString::from("watch"), "pid = 1 and state est".into()];
        assert_eq!(completed(line.clone()), ["pid = 1 and state established"]);
        line[1] = "pid = 1 and state ".into();
        assert!(completed(line).contains(&"pid = 1 and state time-wait".to_owned()));
    }

    #[test]
    fn values_of_flags_and_flags_are_left_to_the_script() {
        for line in
            ["snapshot --netns sta", "snapshot --at sta", "snapshot -t --sta", "sta", "doctor x"]
        {
            assert!(of(line).is_empty(), "{line}: {:?}", of(line));
        }
    }

    #[test]
    fn help_has_commands_and_topics() {
        assert_eq!(of("help st"), ["stats", "states"]);
        assert_eq!(of("help snap"), ["snapshot"]);
        assert!(of("help states x").is_empty());
        assert!(!of("help ").is_empty());
    }

    #[test]
    fn a_listing_knows_more_words_with_a_moment() {
        assert!(of("snapshot dir").is_empty());
        assert_eq!(of("snapshot --at 03:12 dir"), ["dir"]);
    }

    #[test]
    fn scripts_ask_for_the_words_and_hide_the_hidden() {
        use CompletedShell::{Bash, Fish, Zsh};
        let root = layout(Cli::command());
        for (shell, place, count) in [
            (Bash, "complete -F _netmon_words ", 2),
            (Zsh, ":_netmon_words'", 5),
            (Fish, "using_subcommand snapshot watch top history help\" -f", 1),
        ] {
            let script = script(shell, &root);
            assert_eq!(script.matches(place).count(), count, "{script}");
            for hidden in ["shift", "--raw)", "--raw=", "--words)", "_cmdstring"] {
                assert!(!script.contains(hidden), "{hidden}: {script}");
            }
        }
    }
}
