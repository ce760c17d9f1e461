//! Lists over everything: `GET …/resources?$filter=…`.

use fleetform_sandbox::Table;
use serde_json::Value as Json;

use super::answer::{Answer, Refusal};
use super::{CLUSTERS, Call, REGISTRIES};

/// `NAME eq 'VALUE'`, joined by `and`. A filter by tag goes with no other, as in Azure.
#[derive(Default)]
pub struct Filter {
    terms: Vec<(String, String)>,
}

impl Filter {
    pub fn parse(text: Option<&str>) -> Result<Filter, Refusal> {
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
            return Ok(Filter::default());
        };
        let bad = || {
            Refusal::bad(
                "InvalidFilterInQueryString",
                format!("Invalid $filter '{text}' specified in the query string."),
            )
        };
        let mut terms = Vec::new();
        let mut rest = text.trim();
        loop {
            let (name, tail) = rest.split_once(" eq '").ok_or_else(bad)?;
            let end = closing_quote(tail).ok_or_else(bad)?;
            terms.push((name.trim().to_lowercase(), tail[..end].replace("''", "'")));
            let tail = tail[end + 1..].trim_start();
            if tail.is_empty() {
                break;
            }
            rest = tail.strip_prefix("and ").ok_or_else(bad)?;
        }
        let known = ["tagname", "tagvalue", "resourcetype", "name", "location", "resourcegroup"];
        let by_tag = terms.iter().filter(|(name, _)| name.starts_with("tag")).count();
        let names = terms.iter().map(|(name, _)| name.as_str());
        if names.clone().any(|name| !known.contains(&name)) || (by_tag > 0 && by_tag < terms.len())
        {
            return Err(bad());
        }
        if names.clone().any(|name| name == "tagvalue")
            && !names.clone().any(|name| name == "tagname")
        {
            return Err(bad());
        }
        Ok(Filter { terms })
    }

    pub fn admits(&self, body: &Json) -> bool {
        let tag_name = self.terms.iter().find(|(name, _)| name == "tagname").map(|(_, tag)| tag);
        self.terms.iter().all(|(name, wanted)| {
            let found = match name.as_str() {
                "tagname" => return !body["tags"][wanted].is_null(),
                "tagvalue" => {
                    return tag_name.is_some_and(|tag| body["tags"][tag].as_str() == Some(wanted));
                }
                "resourcetype" => &body["type"],
                "resourcegroup" => {
                    let id = body["id"].as_str().unwrap_or_default();
                    let group = crate::attributes::segment(id, "resourceGroups");
                    return group.is_some_and(|group| group.eq_ignore_ascii_case(wanted));
                }
                other => &body[other],
            };
            found.as_str().is_some_and(|found| found.eq_ignore_ascii_case(wanted))
        })
    }

    fn by_tag(&self) -> bool {
        self.terms.iter().any(|(name, _)| name == "tagname")
    }
}

/// Clusters and registries of the subscription, or of one group. Node pools are parts of their clusters
/// and not listed.
pub fn resources(table: &Table, call: &Call, group: Option<&str>) -> Result<Answer, Refusal> {
    let filter = Filter::parse(call.query("$filter"))?;
    let prefix = match group {
        Some(group) => format!("{}/{group}/", call.subscription()),
        None => format!("{}/", call.subscription()),
    };
    let mut found: Vec<(String, Json)> = Vec::new();
    for collection in [CLUSTERS, REGISTRIES] {
        for (key, object) in table.list(collection, &prefix) {
            if !filter.admits(&object.body) {
                continue;
            }
            let body = &object.body;
            let shown = ["id", "name", "type", "location", "tags", "sku", "identity"];
            // Azure leaves the tags out of what it found by a tag.
            let shown = shown.into_iter().filter(|name| *name != "tags" || !filter.by_tag());
            let item = shown
                .filter(|name| !body[*name].is_null())
                .map(|name| (name.to_owned(), body[name].clone()))
                .collect();
            found.push((format!("{key}/{collection}"), Json::Object(item)));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Answer::page(call, found.into_iter()))
}

/// Where the text ends that began after a quote; two quotes stand for one.
fn closing_quote(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut index = 0;
    while index < bytes.len() {
        match (bytes[index], bytes.get(index + 1)) {
            (b'\'', Some(b'\'')) => index += 2,
            (b'\'', _) => return Some(index),
            _ => index += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn filters_are_read_as_azure_reads_them() {
        let body = json!({
            "id": "/subscriptions/s/resourceGroups/G/providers/x/y/z",
            "type": "Microsoft.ContainerService/managedClusters",
            "location": "eastus",
            "tags": { "owner": "o'neill" },
        });
        let cases = [
            ("tagName eq 'owner' and tagValue eq 'o''neill'", true),
            ("tagName eq 'owner' and tagValue eq 'other'", false),
            ("tagName eq 'none'", false),
            ("resourceType eq 'microsoft.containerservice/managedclusters'", true),
            ("resourceGroup eq 'g' and location eq 'eastus'", true),
            ("location eq 'westus'", false),
        ];
        for (text, expected) in cases {
            let filter = Filter::parse(Some(text)).expect(text);
            assert_eq!(filter.admits(&body), expected, "{text}");
        }
        for text in [
            "owner",
            "tagName eq owner",
            "tagName eq 'a' or tagName eq 'b'",
            "color eq 'a'",
            "tagValue eq 'a'",
            "tagName eq 'a' and location eq 'b'",
            "tagName eq 'a",
        ] {
            assert!(Filter::parse(Some(text)).is_err(), "{text}");
        }
    }
}
