//! The completion of netmon's command line in bash, zsh and fish: keys are typed in a terminal.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
};

use crate::{help::netmon, kernel::top::Terminal, tool::has_tool};

const PROMPT: &str = "READY> ";

/// The words that are typed before Tab, and the line after.
const LINES: [(&str, &str); 10] = [
    ("netmon sn", "netmon snapshot"),
    ("netmon snapshot --tim", "netmon snapshot --timers"),
    ("netmon record --source pr", "netmon record --source proc"),
    ("netmon snapshot sta", "netmon snapshot state"),
    ("netmon snapshot state est", "netmon snapshot state established"),
    ("netmon history verdict = ref", "netmon history verdict = refused"),
    ("netmon watch dir = lis", "netmon watch dir = listen"),
    ("netmon top -n pid = 1 or exclude time", "netmon top -n pid = 1 or exclude time-wait"),
    ("netmon history 'failed and verdict = tim", "netmon history 'failed and verdict = timed-out'"),
    ("netmon help verd", "netmon help verdicts"),
];

/// A directory with the script of a shell, removed on drop.
struct Home(PathBuf);

impl Home {
    fn new(shell: &str) -> Self {
        let path = env::temp_dir().join(format!("netmon-{shell}-{}", process::id()));
        fs::create_dir(&path).expect("a directory");
        let output = netmon(&["completions", shell]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::write(path.join("_netmon"), output.stdout).expect("the script");
        Self(path)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.0.join(file), text).expect(file);
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Types each line in a shell, which `command` starts.
fn assert_completes(shell: &str, command: &str) {
    let programs = Path::new(env!("CARGO_BIN_EXE_netmon")).parent().expect("a directory");
    let command = format!("PATH={}:$PATH {command}", programs.display());
    let terminal = Terminal::run(&format!("completes-{shell}"), &command);
    let last = |screen: &str| {
        let line = screen.lines().rev().find_map(|line| line.strip_prefix(PROMPT));
        line.or_else(|| screen.lines().next_back()?.strip_prefix(PROMPT.trim()))
            .map(|line| line.trim().to_owned())
    };
    terminal.until(&format!("the prompt of {shell}"), |screen| screen.contains(PROMPT.trim()));
    for (typed, expected) in LINES {
        terminal.write(typed);
        terminal.until(typed, |screen| last(screen).as_deref() == Some(typed));
        terminal.press(&["Tab"]);
        terminal.until(expected, |screen| last(screen).as_deref() == Some(expected));
        terminal.press(&["C-u"]);
        terminal.until("an empty line", |screen| last(screen).is_none_or(|line| line.is_empty()));
    }
}

#[test]
fn bash() {
    let home = Home::new("bash");
    home.write("rc", &format!("PS1='{PROMPT}'; . {}/_netmon", home.0.display()));
    assert_completes("bash", &format!("bash --noprofile --rcfile {}/rc -i", home.0.display()));
}

#[test]
fn zsh() {
    if !has_tool("zsh", "the completion in zsh") {
        return;
    }
    let home = Home::new("zsh");
    let path = home.0.display();
    // The marks at the end of a command's output would hide the prompt.
    home.write(
        ".zshrc",
        &format!(
            "PS1='{PROMPT}'; unsetopt prompt_sp; fpath=({path} $fpath); autoload -Uz compinit; \
             compinit -u -d {path}/dump"
        ),
    );
    assert_completes("zsh", &format!("ZDOTDIR={path} zsh -d -i"));
}

#[test]
fn fish() {
    if !has_tool("fish", "the completion in fish") {
        return;
    }
    let home = Home::new("fish");
    let path = home.0.display();
    home.write(
        "rc",
        &format!("source {path}/_netmon\nfunction fish_prompt; printf '{PROMPT}'; end\n"),
    );
    // Suggestions from earlier lines would look like a completion.
    let settings = "set -g fish_autosuggestion_enabled 0";
    assert_completes(
        "fish",
        &format!("HOME={path} fish --no-config -i -C '{settings}; source {path}/rc'"),
    );
}
