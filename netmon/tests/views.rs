//! What a session prints, to the byte: one scene through the table and both views.

mod scene;

use jiff::tz::TimeZone;
use netmon::{
    core::{
        connection::{Change, Resync},
        names::Services,
        table::ConnectionTable,
    },
    session::View,
    view::{
        json::Json,
        lines::{Appearance, Lines},
    },
};
use scene::{MS, scene};

fn show(view: &mut impl View) -> u32 {
    let mut table = ConnectionTable::default();
    let mut shown = 0;
    for event in scene() {
        table
            .apply(&event, |change| {
                shown += u32::from(view.change(&change)?);
                std::io::Result::Ok(())
            })
            .expect("written");
    }
    let resync = Resync { time: 702 * MS, found: 1, moved: 0, ended: 1 };
    view.change(&Change::Resync(resync)).expect("written");
    view.flush(&table).expect("written");
    shown
}

fn lines(colour: bool) -> String {
    let services = Services::parse(b"ssh 22/tcp\nhttps 443/tcp\nhttp 80/tcp www\n");
    let look = Appearance {
        services,
        colour,
        zone: TimeZone::UTC,
        netns: Some(4_026_531_840),
        dated: false,
    };
    let mut out = Vec::new();
    let mut view = Lines::new(&mut out, look).expect("written");
    assert_eq!(show(&mut view), 14);
    drop(view);
    String::from_utf8(out).expect("text")
}

#[test]
fn text() {
    insta::assert_snapshot!("text", lines(false));
}

#[test]
fn colour_adds_nothing_but_colour() {
    let coloured = lines(true);
    assert!(
        coloured.contains("\u{1b}[31mrefused ECONNREFUSED RST received \u{1b}[0m"),
        "{coloured}"
    );
    let plain = ["\u{1b}[31m", "\u{1b}[33m", "\u{1b}[0m"]
        .iter()
        .fold(coloured, |text, colour| text.replace(colour, ""));
    let trimmed: Vec<&str> = plain.lines().map(str::trim_end).collect();
    assert_eq!(trimmed.join("\n"), lines(false).trim_end());
}

#[test]
fn json() {
    let mut out = Vec::new();
    let mut view = Json::new(&mut out);
    assert_eq!(show(&mut view), 14);
    drop(view);
    let text = String::from_utf8(out).expect("UTF-8");
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    }
    insta::assert_snapshot!("json", text);
}
