//! JSON Lines, held against docs/netmon.schema.json. Every test that reads JSON of netmon reads it
//! by [`object`], so that every object of every test is checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use arrow_schema::DataType;
use jsonschema::{Validator, validator_for};
use netmon::testing::{Dataset, Direction, Evidence, FirstFin, Loss, ResetSide, TcpState, Verdict};
use serde_json::{Value, json};

const TEXT: &str = include_str!("../../../docs/netmon.schema.json");

static SCHEMA: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(TEXT).expect("JSON"));

/// The schema of each type of object: its faults are clearer than those of the whole schema, which
/// says only that no type fits.
static TYPES: LazyLock<BTreeMap<String, Validator>> = LazyLock::new(|| {
    let types = SCHEMA["oneOf"].as_array().expect("types");
    let name = |reference: &Value| {
        let reference = reference["$ref"].as_str().expect("a reference");
        reference.strip_prefix("#/$defs/").expect("a type").to_owned()
    };
    let validator = |reference: &Value| {
        let mut schema = SCHEMA.clone();
        schema["oneOf"] = json!([reference]);
        validator_for(&schema).expect("a schema")
    };
    types.iter().map(|reference| (name(reference), validator(reference))).collect()
});

/// Returns the object of a line, which the schema must admit.
#[track_caller]
pub(crate) fn object(line: &str) -> Value {
    let object: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    if let Some(fault) = fault(&object) {
        panic!("{fault}: {line}");
    }
    object
}

fn fault(object: &Value) -> Option<String> {
    let name = object["type"].as_str().unwrap_or_default();
    let Some(validator) = TYPES.get(name) else { return Some(format!("no type {name:?}")) };
    let faults: Vec<_> = validator
        .iter_errors(object)
        .flat_map(|fault| match fault.kind() {
            jsonschema::error::ValidationErrorKind::OneOfNotValid { context } => {
                context.iter().flatten().map(ToString::to_string).collect()
            }
            _ => vec![fault.to_string()],
        })
        .collect();
    (!faults.is_empty()).then(|| faults.join("; "))
}

/// The words that a field may have.
fn words(pointer: &str) -> BTreeSet<&str> {
    let place = SCHEMA.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}"));
    place["enum"]
        .as_array()
        .expect("words")
        .iter()
        .map(|word| word.as_str().expect("text"))
        .collect()
}

#[test]
fn every_word_of_the_code_is_a_word_of_the_schema() {
    for (pointer, code) in [
        ("/$defs/state", TcpState::ALL.map(TcpState::name).to_vec()),
        ("/$defs/ending/properties/verdict", Verdict::ALL.map(Verdict::name).to_vec()),
        ("/$defs/ending/properties/reset", ResetSide::ALL.map(ResetSide::name).to_vec()),
        ("/$defs/party/properties/direction", Direction::ALL.map(Direction::name).to_vec()),
        ("/$defs/party/properties/owner_evidence", Evidence::ALL.map(Evidence::name).to_vec()),
        ("/$defs/lost/properties/reason", Loss::ALL.map(Loss::name).to_vec()),
        ("/$defs/connection/properties/first_fin", FirstFin::ALL.map(FirstFin::name).to_vec()),
    ] {
        assert_eq!(words(pointer), code.into_iter().collect(), "{pointer}");
    }
}

/// The fields of a type of object, with their schemas.
fn fields(name: &str) -> BTreeMap<&'static str, &'static Value> {
    let definition = &SCHEMA["$defs"][name];
    let groups = definition["allOf"].as_array().into_iter().flatten();
    let groups = groups.map(resolved).chain([definition]);
    groups
        .flat_map(|group| group["properties"].as_object().expect("fields"))
        .map(|(name, field)| (name.as_str(), resolved(field)))
        .collect()
}

/// Follows a reference.
fn resolved(field: &'static Value) -> &'static Value {
    match field["$ref"].as_str() {
        Some(reference) => {
            resolved(SCHEMA.pointer(reference.trim_start_matches('#')).expect(reference))
        }
        None => field,
    }
}

/// The types of JSON that a field may have.
fn json_types(field: &'static Value) -> BTreeSet<&'static str> {
    if let Some(choices) = field["anyOf"].as_array() {
        return choices.iter().flat_map(|choice| json_types(resolved(choice))).collect();
    }
    match (&field["type"], &field["const"], &field["enum"]) {
        (Value::String(word), ..) => BTreeSet::from([word.as_str()]),
        (_, Value::Bool(_), _) => BTreeSet::from(["boolean"]),
        (_, Value::String(_), _) | (.., Value::Array(_)) => BTreeSet::from(["string"]),
        _ => panic!("a field without a type: {field}"),
    }
}

#[test]
fn every_column_of_a_journal_is_a_field() {
    for (dataset, names) in [
        (Dataset::Events, &["transition", "connection", "owner", "anchor", "lost", "resync"][..]),
        (Dataset::Connections, &["closed"]),
        (Dataset::Checkpoints, &["connection"]),
        (Dataset::Processes, &["process"]),
        (Dataset::Namespaces, &["namespace"]),
    ] {
        for column in dataset.schema().expect("a schema").fields() {
            let field =
                names.iter().find_map(|name| fields(name).get(column.name().as_str()).copied());
            let field = field.unwrap_or_else(|| panic!("no field {} of {names:?}", column.name()));
            let wanted = match column.data_type() {
                DataType::Boolean => "boolean",
                DataType::Int32 | DataType::Int64 => "integer",
                _ => "string",
            };
            assert!(json_types(field).contains(wanted), "{}: {field}", column.name());
        }
    }
}

#[test]
fn unknown_fields_words_and_types_are_faults() {
    let whole = json!({
        "type": "lost", "time": "2026-01-02T03:04:05Z", "reason": "ring_full",
        "gap_from": "2026-01-02T03:04:04.5Z", "lost": 3,
    });
    assert_eq!(fault(&whole), None);
    for (field, value) in [
        ("count", json!(3)),
        ("reason", json!("bad_luck")),
        ("type", json!("loss")),
        ("lost", json!(0)),
        ("lost", json!("3")),
        ("time", json!("yesterday")),
    ] {
        let mut broken = whole.clone();
        broken[field] = value;
        assert!(fault(&broken).is_some(), "{broken}");
    }
}
