//! The settings of the screen that are kept from one run to the next: columns, order, groups.

use serde_json::{Value, json};

use super::{columns::Column, groups::GroupBy};

/// Settings that a person changes with keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScreenSettings {
    /// The columns, in their order.
    pub(super) columns: Vec<Column>,
    pub(super) sort: Column,
    pub(super) reversed: bool,
    pub(super) group: Option<GroupBy>,
}

impl Default for ScreenSettings {
    fn default() -> Self {
        Self { columns: Column::ALL.to_vec(), sort: Column::Age, reversed: false, group: None }
    }
}

impl ScreenSettings {
    /// Reads settings. A setting that is missing or unknown has its default.
    #[must_use]
    pub fn from_json(text: &str) -> Self {
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        let column = |value: &Value| {
            Column::ALL.into_iter().find(|column| Some(column.name()) == value.as_str())
        };
        let mut columns = Vec::new();
        for value in value["columns"].as_array().into_iter().flatten() {
            columns.extend(column(value).filter(|column| !columns.contains(column)));
        }
        let default = Self::default();
        Self {
            columns: if columns.is_empty() { default.columns } else { columns },
            sort: column(&value["sort"]).unwrap_or(default.sort),
            reversed: value["reversed"].as_bool().unwrap_or_default(),
            group: GroupBy::ALL.into_iter().find(|by| Some(by.name()) == value["group"].as_str()),
        }
    }

    /// Returns the text that [`Self::from_json`] reads.
    #[must_use]
    pub fn to_json(&self) -> String {
        let columns: Vec<_> = self.columns.iter().map(|column| column.name()).collect();
        let value = json!({
            "columns": columns,
            "sort": self.sort.name(),
            "reversed": self.reversed,
            "group": self.group.map(GroupBy::name),
        });
        format!("{value:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings() -> impl Strategy<Value = ScreenSettings> {
        let columns = proptest::sample::subsequence(Column::ALL.to_vec(), 1..=Column::ALL.len());
        let column = proptest::sample::select(Column::ALL.to_vec());
        let group = proptest::option::of(proptest::sample::select(GroupBy::ALL.to_vec()));
        (columns.prop_shuffle(), column, any::<bool>(), group).prop_map(
            |(columns, sort, reversed, group)| ScreenSettings { columns, sort, reversed, group },
        )
    }

    proptest! {
        #[test]
        fn settings_come_back(settings in settings()) {
            prop_assert_eq!(ScreenSettings::from_json(&settings.to_json()), settings);
        }

        /// Nothing in a file is fatal.
        #[test]
        fn any_text_is_settings(text in ".*") {
            prop_assert!(!ScreenSettings::from_json(&text).columns.is_empty());
        }
    }

    #[test]
    fn unknown_words_have_their_default() {
        let text = r#"{"columns": ["Age", "Moon", "Age", 3], "sort": "Moon", "group": 7}"#;
        let expected = ScreenSettings { columns: vec![Column::Age], ..ScreenSettings::default() };
        assert_eq!(ScreenSettings::from_json(text), expected);
    }
}
