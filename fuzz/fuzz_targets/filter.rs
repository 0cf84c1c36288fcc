//! The filter language: any text is a filter or an error, and the text of a filter parses to the
//! same filter.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon::testing::{Filter, FilterNames, RowKind};

/// A host that knows no name, so that a filter's text depends on nothing else.
struct Nameless;

impl FilterNames for Nameless {}

fuzz_target!(|text: &str| {
    if let Ok(filter) = Filter::parse(text, &Nameless, RowKind::Connection) {
        let shown = filter.to_string();
        match Filter::parse(&shown, &Nameless, RowKind::Connection) {
            Ok(again) => assert_eq!(again, filter, "{text:?} is shown as {shown:?}"),
            Err(error) => panic!("{text:?} is shown as {shown:?}, which is refused: {error}"),
        }
    }
});
