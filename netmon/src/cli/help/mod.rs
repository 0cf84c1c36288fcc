//! Help: the layout of `--help`, and `netmon help` with its topics.

mod here;
mod topics;

use std::{io::Write, process::ExitCode};

use clap::{Args, Command, error::ErrorKind};

pub(super) use self::topics::{TOPICS, topic};
use super::{io::stderr::report, locale::Locale};

/// The order of the parts: examples come first.
const TEMPLATE: &str =
    "{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";

/// The headings of options, and the options below each.
const GROUPS: [(&str, &str); 6] = [
    (
        "What",
        "tcp udp raw unix listening all ipv4 ipv6 netns initial dataset line route interfaces \
         groups statistics masquerade sctp udplite inet inet6 4 6 protocol cache fib",
    ),
    ("When", "at from to continuous duration count follow utc"),
    (
        "Output",
        "numeric numeric-hosts numeric-ports numeric-users resolve program programs wide_owner \
         extend timers info context no_header wide sort reverse limit summary json format once \
         no_pager",
    ),
    ("Journal", "path host max_size max_age segment_time days"),
    ("Kernel", "buffer accept_syscalls no_args no_btf no_fentry source"),
    ("General", "color verbose help version"),
];

const COLOR: &str = "When to use colours; auto: on a terminal";

/// Returns the definition of a command with the layout of its help, and of all commands below.
pub(super) fn layout(command: Command) -> Command {
    let group = |id: &str| GROUPS.iter().find(|(_, ids)| ids.split(' ').any(|one| one == id));
    command
        .help_template(TEMPLATE)
        .mut_args(|arg| match group(arg.get_id().as_str()) {
            Some((heading, _)) => arg.help_heading(*heading),
            None => arg,
        })
        // The crate of this option has words of its own.
        .mut_args(|arg| if arg.get_id() == "color" { arg.help(COLOR) } else { arg })
        .mut_subcommands(layout)
}

/// Returns the examples in the help of a command: the words to type, and their meaning.
pub(super) fn examples(command: &Command) -> impl Iterator<Item = (String, String)> {
    let text = command.get_before_help().map(ToString::to_string).unwrap_or_default();
    let lines: Vec<_> = text.lines().skip(1).map(|line| line.trim().to_owned()).collect();
    lines.into_iter().filter(|line| !line.is_empty()).map(|line| {
        let (example, meaning) = line.split_once("  ").unwrap_or((&line, ""));
        (example.to_owned(), meaning.trim_start().to_owned())
    })
}

/// Show the help of a command, or explain what netmon prints
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_help = topics_help())]
pub(super) struct HelpCommand {
    /// A command, or a topic
    #[arg(value_name = "COMMAND|TOPIC")]
    words: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  netmon help ports        what sockets and ports are
  netmon help filter       the language of filters
  netmon help snapshot     the help of a command";

/// Returns the list of topics, for the end of a help.
pub(super) fn topics_help() -> String {
    let lines = TOPICS.iter().map(|topic| format!("  {:<9} {}\n", topic.name, topic.about));
    format!("Topics, as in netmon help states:\n{}", lines.collect::<String>().trim_end())
}

impl HelpCommand {
    /// Prints the help that the words choose. The exit code is 2 if there is no such help.
    pub(super) fn run(self, root: Command) -> anyhow::Result<ExitCode> {
        let topic = match &self.words[..] {
            [name] => topic(name),
            _ => None,
        };
        if let Some(topic) = topic {
            let locale = Locale::of_user();
            let mut out = locale.stdout();
            out.write_all((topic.text)(locale.language).as_bytes())?;
            out.flush()?;
            return Ok(ExitCode::SUCCESS);
        }
        let flag = "--help".to_owned();
        let words =
            [root.get_name().to_owned()].into_iter().chain(self.words.clone()).chain([flag]);
        let help = layout(root).try_get_matches_from(words).err();
        let Some(help) = help.filter(|help| help.kind() == ErrorKind::DisplayHelp) else {
            let topics: Vec<_> = TOPICS.iter().map(|topic| topic.name).collect();
            report(format_args!(
                "'{}' is no command and no topic\n  type: netmon help, or netmon help with one of \
                 {}",
                self.words.join(" "),
                topics.join(", ")
            ));
            return Ok(ExitCode::from(2));
        };
        help.print()?;
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests;
