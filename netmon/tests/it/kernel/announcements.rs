//! Long work on a terminal: announced at once, and with its progress.

use crate::kernel::{recording::Directory, top::Terminal};

#[test]
fn long_work_is_announced_and_shows_its_progress() {
    let directory = Directory::new();
    let record = format!("record --duration 4s --journal {}", directory.0.display());
    for (name, command, begins, progress) in [
        ("record", &*record, "netmon: recording into", "events recorded"),
        (
            "verify",
            "verify --duration 4s",
            "netmon: following every connection for 4 s",
            "every connection: ",
        ),
    ] {
        let line = format!("{} {command}", env!("CARGO_BIN_EXE_netmon"));
        let terminal = Terminal::run(&format!("announced-{name}"), &line);
        let is_progress = |line: &str| {
            let seconds =
                line.trim_end().strip_suffix(" s").and_then(|line| line.rsplit(' ').next());
            line.contains(progress) && seconds.is_some_and(|text| text.parse::<u32>().is_ok())
        };
        terminal.until("the progress", |screen| {
            screen.contains(begins) && screen.lines().any(is_progress)
        });
        let end = terminal.until("the end", |screen| screen.contains("ended with"));
        assert!(!end.lines().any(is_progress), "{end}");
    }
}
