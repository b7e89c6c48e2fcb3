//! The part of JSON Schema (draft 2020-12) that this repository's schemas use. A keyword that is not known here is reported
//! as a violation, so that nothing in a schema goes unchecked silently.

use serde_json::{Map, Value};

/// Where and how `instance` breaks `schema`; empty where it does not.
#[must_use]
pub fn violations(schema: &Value, instance: &Value) -> Vec<String> {
    let mut found = Vec::new();
    Check { root: schema, found: &mut found }.value(schema, instance, "");
    found
}

struct Check<'a> {
    root: &'a Value,
    found: &'a mut Vec<String>,
}

impl Check<'_> {
    fn value(&mut self, schema: &Value, instance: &Value, place: &str) {
        let Some(keywords) = schema.as_object() else {
            if schema == &Value::Bool(false) {
                self.refuse(place, "is not allowed here");
            }
            return;
        };
        for (keyword, rule) in keywords {
            self.keyword(keywords, keyword, rule, instance, place);
        }
    }

    fn keyword(
        &mut self,
        all: &Map<String, Value>,
        keyword: &str,
        rule: &Value,
        instance: &Value,
        place: &str,
    ) {
        let number = instance.as_f64();
        let bound = rule.as_f64().unwrap_or(f64::NAN);
        let length = instance.as_array().map(|list| list.len() as f64);
        let characters = instance.as_str().map(|text| text.chars().count() as f64);
        let holds = match keyword {
            "$schema" | "$id" | "$defs" | "title" | "description" | "format" => true,
            "$ref" => {
                let target = rule.as_str().and_then(|text| text.strip_prefix('#'));
                match target.and_then(|pointer| self.root.pointer(pointer)) {
                    Some(schema) => {
                        self.value(&schema.clone(), instance, place);
                        true
                    }
                    None => false,
                }
            }
            "type" => match rule {
                Value::Array(types) => types.iter().any(|one| has_type(one, instance)),
                one => has_type(one, instance),
            },
            "const" => instance == rule,
            "enum" => rule.as_array().is_some_and(|values| values.contains(instance)),
            "minimum" => number.is_none_or(|number| number >= bound),
            "maximum" => number.is_none_or(|number| number <= bound),
            "exclusiveMinimum" => number.is_none_or(|number| number > bound),
            "minItems" => length.is_none_or(|length| length >= bound),
            "maxItems" => length.is_none_or(|length| length <= bound),
            "minLength" => characters.is_none_or(|length| length >= bound),
            "uniqueItems" => instance.as_array().is_none_or(|list| {
                list.iter().enumerate().all(|(index, item)| !list[..index].contains(item))
            }),
            "pattern" => match (instance.as_str(), rule.as_str().map(regex_lite::Regex::new)) {
                (None, Some(Ok(_))) => true,
                (Some(text), Some(Ok(pattern))) => pattern.is_match(text),
                _ => false,
            },
            "required" => {
                let names = rule.as_array().into_iter().flatten().filter_map(Value::as_str);
                let object = instance.as_object();
                let missing: Vec<&str> =
                    names.filter(|name| object.is_some_and(|object| !object.contains_key(*name))).collect();
                missing.is_empty()
            }
            "items" => {
                for (index, item) in instance.as_array().into_iter().flatten().enumerate() {
                    self.value(rule, item, &format!("{place}/{index}"));
                }
                true
            }
            "properties" => {
                for (name, schema) in rule.as_object().into_iter().flatten() {
                    if let Some(item) = instance.get(name) {
                        self.value(schema, item, &format!("{place}/{name}"));
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = all.get("properties").and_then(Value::as_object);
                for (name, item) in instance.as_object().into_iter().flatten() {
                    if known.is_none_or(|known| !known.contains_key(name)) {
                        self.value(rule, item, &format!("{place}/{name}"));
                    }
                }
                true
            }
            _ => false,
        };
        if !holds {
            self.refuse(place, &format!("breaks {keyword}: {rule}"));
        }
    }

    fn refuse(&mut self, place: &str, reason: &str) {
        let place = if place.is_empty() { "/" } else { place };
        self.found.push(format!("{place} {reason}"));
    }
}

fn has_type(name: &Value, instance: &Value) -> bool {
    match name.as_str() {
        Some("null") => instance.is_null(),
        Some("boolean") => instance.is_boolean(),
        Some("object") => instance.is_object(),
        Some("array") => instance.is_array(),
        Some("string") => instance.is_string(),
        Some("number") => instance.is_number(),
        Some("integer") => instance.as_f64().is_some_and(|number| number.fract() == 0.0),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_keyword_accepts_and_refuses() {
        let cases = [
            (json!({"type": "integer"}), json!(3), json!(3.5)),
            (json!({"type": ["string", "null"]}), json!(null), json!(1)),
            (json!({"const": 1}), json!(1), json!(2)),
            (json!({"enum": ["a", "b"]}), json!("b"), json!("c")),
            (json!({"minimum": 2, "maximum": 3}), json!(2), json!(4)),
            (json!({"exclusiveMinimum": 0}), json!(0.1), json!(0)),
            (json!({"minItems": 1, "maxItems": 2}), json!([1]), json!([1, 2, 3])),
            (json!({"uniqueItems": true}), json!([1, 2]), json!([1, 1])),
            (json!({"minLength": 1}), json!("a"), json!("")),
            (json!({"pattern": "^[0-9a-f]{2}$"}), json!("0f"), json!("0g")),
            (json!({"required": ["a"]}), json!({"a": 1}), json!({"b": 1})),
            (json!({"items": {"type": "string"}}), json!(["a"]), json!(["a", 1])),
            (json!({"properties": {"a": {"const": 1}}}), json!({"a": 1, "b": 2}), json!({"a": 2})),
            (
                json!({"properties": {"a": {}}, "additionalProperties": false}),
                json!({"a": 1}),
                json!({"b": 1}),
            ),
            (json!({"additionalProperties": {"type": "integer"}}), json!({"a": 1}), json!({"a": "1"})),
            (json!({"$ref": "#/$defs/one", "$defs": {"one": {"const": 1}}}), json!(1), json!(2)),
        ];
        for (schema, good, bad) in cases {
            assert_eq!(violations(&schema, &good), Vec::<String>::new(), "{schema} {good}");
            assert!(!violations(&schema, &bad).is_empty(), "{schema} {bad}");
        }
    }

    #[test]
    fn an_unknown_keyword_is_never_silently_passed() {
        assert!(!violations(&json!({"maxProperties": 3}), &json!({})).is_empty());
        assert!(!violations(&json!({"$ref": "#/$defs/absent"}), &json!({})).is_empty());
    }
}
