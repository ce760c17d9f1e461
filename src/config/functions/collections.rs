//! Lists and maps.

use std::collections::{BTreeMap, HashSet};

use fleetform_contract::Value;

use super::arguments::Arguments;
use super::types::{self, kind, to_bool, unify};
use super::{Function, FunctionError, Result, function, json, strings, variadic};

pub(super) const FUNCTIONS: &[Function] = &[
    function("alltrue", &["list"], alltrue),
    function("anytrue", &["list"], anytrue),
    function("chunklist", &["list", "size"], chunklist),
    variadic("coalesce", &[], "vals", coalesce),
    variadic("coalescelist", &[], "vals", coalescelist),
    function("compact", &["list"], compact),
    variadic("concat", &[], "seqs", concat),
    function("contains", &["list", "value"], contains),
    function("distinct", &["list"], distinct),
    function("element", &["list", "index"], element),
    function("flatten", &["list"], flatten),
    function("index", &["list", "value"], index),
    function("keys", &["inputMap"], |arguments| Ok(Value::list(arguments.map(0)?.keys()))),
    function("length", &["value"], length),
    variadic("lookup", &["inputMap", "key"], "default", lookup),
    function("matchkeys", &["values", "keys", "searchset"], matchkeys),
    variadic("merge", &[], "maps", merge),
    function("one", &["list"], one),
    variadic("range", &[], "params", range),
    function("reverse", &["list"], |arguments| {
        Ok(Value::List(arguments.list(0)?.iter().rev().cloned().collect()))
    }),
    function("slice", &["list", "start_index", "end_index"], slice),
    function("sort", &["list"], sort),
    function("sum", &["list"], sum),
    function("transpose", &["values"], transpose),
    function("values", &["mapping"], |arguments| {
        Ok(Value::List(arguments.map(0)?.values().cloned().collect()))
    }),
    function("zipmap", &["keys", "values"], zipmap),
];

/// Longest list of `range`, as with Terraform.
const MAX_RANGE: usize = 1024;

/// The elements of a list of bools; nulls stay.
fn bools(arguments: &Arguments) -> Result<Vec<Option<bool>>> {
    let convert = |value: &Value| match value {
        Value::Null => Ok(None),
        value => to_bool(value).map(Some).map_err(|why| arguments.wrong(0, why)),
    };
    arguments.list(0)?.iter().map(convert).collect()
}

fn alltrue(arguments: &Arguments) -> Result<Value> {
    Ok(bools(arguments)?.into_iter().all(|bit| bit == Some(true)).into())
}

fn anytrue(arguments: &Arguments) -> Result<Value> {
    Ok(bools(arguments)?.into_iter().any(|bit| bit == Some(true)).into())
}

fn chunklist(arguments: &Arguments) -> Result<Value> {
    let items = arguments.unified(0)?;
    let size = usize::try_from(arguments.whole(1)?)
        .map_err(|_| arguments.wrong(1, "the size argument must be positive"))?;
    if items.is_empty() {
        return Ok(Value::List(Vec::new()));
    }
    // Size 0 asks for one chunk of everything.
    let size = if size == 0 { items.len() } else { size };
    Ok(Value::List(items.chunks(size).map(|chunk| Value::List(chunk.to_vec())).collect()))
}

fn coalesce(arguments: &Arguments) -> Result<Value> {
    if arguments.len() == 0 {
        return Err(FunctionError::new("at least one argument is required"));
    }
    let values = unify(arguments.all())
        .map_err(|_| FunctionError::new("all arguments must have the same type"))?;
    let empty = |value: &Value| value.is_null() || value.as_str() == Some("");
    values
        .into_iter()
        .find(|value| !empty(value))
        .ok_or_else(|| FunctionError::new("no non-null, non-empty-string arguments"))
}

fn coalescelist(arguments: &Arguments) -> Result<Value> {
    if arguments.len() == 0 {
        return Err(FunctionError::new("at least one argument is required"));
    }
    for (position, value) in arguments.all().iter().enumerate() {
        match value {
            Value::Null => {}
            Value::List(items) if items.is_empty() => {}
            Value::List(_) => return Ok(value.clone()),
            _ => {
                return Err(arguments.wrong(
                    position,
                    format!("coalescelist arguments must be lists or tuples, not {}", kind(value)),
                ));
            }
        }
    }
    Err(FunctionError::new("no non-null arguments"))
}

fn compact(arguments: &Arguments) -> Result<Value> {
    let texts = arguments.texts(0)?.into_iter().flatten();
    Ok(Value::list(texts.filter(|text| !text.is_empty())))
}

fn concat(arguments: &Arguments) -> Result<Value> {
    if arguments.len() == 0 {
        return Err(FunctionError::new("at least one argument is required"));
    }
    let mut out = Vec::new();
    for index in 0..arguments.len() {
        out.extend_from_slice(arguments.list(index)?);
    }
    Ok(Value::List(out))
}

fn contains(arguments: &Arguments) -> Result<Value> {
    Ok(arguments.list(0)?.contains(arguments.value(1)?).into())
}

fn distinct(arguments: &Arguments) -> Result<Value> {
    let mut seen = HashSet::new();
    let mut items = arguments.unified(0)?;
    // Elements are of one type, so equal text is equal value.
    items.retain(|item| seen.insert(json::encode(item)));
    Ok(Value::List(items))
}

fn element(arguments: &Arguments) -> Result<Value> {
    let (items, index) = (arguments.list(0)?, arguments.whole(1)?);
    if index < 0 {
        return Err(arguments.wrong(1, "cannot use element function with a negative index"));
    }
    if items.is_empty() {
        return Err(arguments.wrong(0, "cannot use element function with an empty list"));
    }
    Ok(items[index as usize % items.len()].clone())
}

fn flatten(arguments: &Arguments) -> Result<Value> {
    fn spread(items: &[Value], out: &mut Vec<Value>) {
        for item in items {
            match item {
                Value::List(items) => spread(items, out),
                item => out.push(item.clone()),
            }
        }
    }
    let mut out = Vec::new();
    spread(arguments.list(0)?, &mut out);
    Ok(Value::List(out))
}

fn index(arguments: &Arguments) -> Result<Value> {
    let (items, wanted) = (arguments.list(0)?, arguments.value(1)?);
    if items.is_empty() {
        return Err(arguments.wrong(0, "cannot search an empty list"));
    }
    let position = items.iter().position(|item| item == wanted);
    let position = position.ok_or_else(|| FunctionError::new("item not found"))?;
    Ok(Value::Number(position as f64))
}

fn length(arguments: &Arguments) -> Result<Value> {
    let length = match arguments.value(0)? {
        Value::List(items) => items.len(),
        Value::Map(map) => map.len(),
        Value::String(text) => strings::length(text),
        _ => {
            return Err(arguments
                .wrong(0, "argument must be a string, a collection type, or a structural type"));
        }
    };
    Ok(Value::Number(length as f64))
}

fn lookup(arguments: &Arguments) -> Result<Value> {
    let (map, key) = (arguments.map(0)?, arguments.text(1)?);
    if arguments.len() > 3 {
        return Err(FunctionError::new(
            "lookup() takes two or three arguments, got more than three.",
        ));
    }
    if let Some(found) = map.get(&*key) {
        return Ok(found.clone());
    }
    if arguments.len() == 3 {
        return Ok(arguments.nullable(2).clone());
    }
    Err(FunctionError::new(format!("lookup failed to find key \"{key}\"")))
}

fn matchkeys(arguments: &Arguments) -> Result<Value> {
    let values = arguments.unified(0)?;
    let (keys, searchset) = (arguments.list(1)?, arguments.list(2)?);
    if values.len() != keys.len() {
        return Err(FunctionError::new("length of keys and values should be equal"));
    }
    let unified = unify(keys.iter().chain(searchset))
        .map_err(|_| arguments.wrong(1, "keys and searchset must be of the same type"))?;
    let (keys, searchset) = unified.split_at(keys.len());
    let wanted: HashSet<String> = searchset.iter().map(json::encode).collect();
    let kept = keys.iter().zip(values).filter(|(key, _)| wanted.contains(&json::encode(key)));
    Ok(Value::List(kept.map(|(_, value)| value).collect()))
}

fn merge(arguments: &Arguments) -> Result<Value> {
    let mut out = BTreeMap::new();
    for index in 0..arguments.len() {
        match arguments.nullable(index) {
            Value::Null => {}
            Value::Map(map) => out.extend(map.clone()),
            value => {
                let why = format!("arguments must be maps or objects, got {}", kind(value));
                return Err(arguments.wrong(index, why));
            }
        }
    }
    Ok(Value::Map(out))
}

fn one(arguments: &Arguments) -> Result<Value> {
    match arguments.list(0)? {
        [] => Ok(Value::Null),
        [only] => Ok(only.clone()),
        _ => Err(arguments
            .wrong(0, "must be a list, set, or tuple value with either zero or one elements")),
    }
}

fn range(arguments: &Arguments) -> Result<Value> {
    let (start, end, step) = match arguments.len() {
        1 => (0.0, arguments.number(0)?, None),
        2 => (arguments.number(0)?, arguments.number(1)?, None),
        3 => (arguments.number(0)?, arguments.number(1)?, Some(arguments.number(2)?)),
        _ => return Err(FunctionError::new("must have one, two, or three arguments")),
    };
    let step = step.unwrap_or(if end < start { -1.0 } else { 1.0 });
    if start == end {
        return Ok(Value::List(Vec::new()));
    }
    if step == 0.0 {
        return Err(arguments.wrong(2, "step must not be zero"));
    }
    if step > 0.0 && end < start {
        return Err(arguments.wrong(1, "end must be greater than start when step is positive"));
    }
    if step < 0.0 && end > start {
        return Err(arguments.wrong(1, "end must be less than start when step is negative"));
    }
    let mut out = Vec::new();
    loop {
        // Not a running sum, which would gather rounding errors.
        let number = super::tidy(start + step * out.len() as f64);
        if step > 0.0 && number >= end || step < 0.0 && number <= end {
            return Ok(Value::List(out));
        }
        if out.len() == MAX_RANGE {
            return Err(FunctionError::new(format!(
                "more than {MAX_RANGE} values were generated; either decrease the difference \
                 between start and end or use a smaller step"
            )));
        }
        out.push(Value::Number(number));
    }
}

fn slice(arguments: &Arguments) -> Result<Value> {
    let items = arguments.list(0)?;
    let (start, end) = (arguments.whole(1)?, arguments.whole(2)?);
    if start < 0 {
        return Err(arguments.wrong(1, "start index must not be less than zero"));
    }
    if start as usize > items.len() {
        return Err(
            arguments.wrong(1, "start index must not be greater than the length of the list")
        );
    }
    if end < 0 || end as usize > items.len() {
        return Err(arguments.wrong(2, "end index must not be greater than the length of the list"));
    }
    if start > end {
        return Err(arguments.wrong(1, "start index must not be greater than end index"));
    }
    Ok(Value::List(items[start as usize..end as usize].to_vec()))
}

fn sort(arguments: &Arguments) -> Result<Value> {
    let texts: Option<Vec<String>> = arguments.texts(0)?.into_iter().collect();
    let why = "given list element is null; a null string cannot be sorted";
    let mut texts = texts.ok_or_else(|| arguments.wrong(0, why))?;
    texts.sort_unstable();
    Ok(Value::list(texts))
}

fn sum(arguments: &Arguments) -> Result<Value> {
    let items = arguments.list(0)?;
    if items.is_empty() {
        return Err(arguments.wrong(0, "cannot sum an empty list"));
    }
    let mut sum = 0.0;
    for item in items {
        let number = types::to_number(item);
        let why = "argument must be list, set, or tuple of number values";
        sum = super::tidy(sum + number.map_err(|_| arguments.wrong(0, why))?);
    }
    arguments.finite(sum)
}

fn transpose(arguments: &Arguments) -> Result<Value> {
    let mut out: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut bytes = 0;
    for (key, items) in arguments.map(0)? {
        let why = || arguments.wrong(0, format!("element \"{key}\": list of string required"));
        let items = items.as_list().ok_or_else(why)?;
        bytes += items.len().saturating_mul(key.len());
        arguments.check_text(bytes)?;
        for item in items {
            let name = types::to_text(item).ok_or_else(why)?;
            out.entry(name).or_default().push(key.as_str().into());
        }
    }
    Ok(Value::map(out.into_iter().map(|(name, keys)| (name, Value::List(keys)))))
}

fn zipmap(arguments: &Arguments) -> Result<Value> {
    let keys: Option<Vec<String>> = arguments.texts(0)?.into_iter().collect();
    let keys = keys.ok_or_else(|| arguments.wrong(0, "a key must not be null"))?;
    let values = arguments.list(1)?;
    if keys.len() != values.len() {
        return Err(FunctionError::new(format!(
            "number of keys ({}) does not match number of values ({})",
            keys.len(),
            values.len()
        )));
    }
    Ok(Value::map(keys.into_iter().zip(values.iter().cloned())))
}
