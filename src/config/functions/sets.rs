//! Sets: lists of one type without duplicates, in order.

use std::collections::HashSet;

use fleetform_contract::Value;

use super::arguments::Arguments;
use super::types::{set, unify};
use super::{Function, FunctionError, Result, function, json, variadic, weight};

pub(super) const FUNCTIONS: &[Function] = &[
    variadic("setintersection", &["first_set"], "other_sets", setintersection),
    variadic("setproduct", &[], "sets", setproduct),
    function("setsubtract", &["a", "b"], setsubtract),
    variadic("setunion", &["first_set"], "other_sets", setunion),
];

/// The arguments as lists whose elements all have one type.
fn lists(arguments: &Arguments) -> Result<Vec<Vec<Value>>> {
    let lists: Vec<&[Value]> =
        (0..arguments.len()).map(|index| arguments.list(index)).collect::<Result<_>>()?;
    let all = unify(lists.iter().copied().flatten());
    let mut all = all
        .map_err(|_| FunctionError::new("given sets must all have compatible element types"))?
        .into_iter();
    Ok(lists.iter().map(|list| all.by_ref().take(list.len()).collect()).collect())
}

fn setintersection(arguments: &Arguments) -> Result<Value> {
    let mut lists = lists(arguments)?.into_iter();
    let mut kept = lists.next().unwrap_or_default();
    for list in lists {
        let other: HashSet<String> = list.iter().map(json::encode).collect();
        kept.retain(|value| other.contains(&json::encode(value)));
    }
    Ok(Value::List(set(kept)))
}

fn setsubtract(arguments: &Arguments) -> Result<Value> {
    let lists = lists(arguments)?;
    let taken: HashSet<String> = lists[1].iter().map(json::encode).collect();
    let kept = lists[0].iter().filter(|value| !taken.contains(&json::encode(value)));
    Ok(Value::List(set(kept.cloned().collect())))
}

fn setunion(arguments: &Arguments) -> Result<Value> {
    Ok(Value::List(set(lists(arguments)?.into_iter().flatten().collect())))
}

fn setproduct(arguments: &Arguments) -> Result<Value> {
    if arguments.len() < 2 {
        return Err(FunctionError::new("at least two arguments are required"));
    }
    let lists: Vec<Vec<Value>> =
        (0..arguments.len()).map(|index| arguments.unified(index)).collect::<Result<_>>()?;
    let count = lists.iter().fold(1_usize, |count, list| count.saturating_mul(list.len()));
    arguments.check_elements(count.saturating_mul(lists.len()))?;
    // Every element of a list is copied once for every combination of the others.
    let copies = |list: &Vec<Value>| {
        let bytes: usize = list.iter().map(weight::bytes).sum();
        bytes.saturating_mul(count / list.len().max(1))
    };
    arguments.check_text(lists.iter().map(copies).fold(0, usize::saturating_add))?;
    let mut product = vec![Vec::new()];
    if count == 0 {
        product.clear();
    }
    for list in lists.iter().filter(|_| count > 0) {
        let extend = |row: Vec<Value>| {
            list.iter().map(move |value| {
                let mut row = row.clone();
                row.push(value.clone());
                row
            })
        };
        product = product.into_iter().flat_map(extend).collect();
    }
    Ok(Value::list(product))
}
