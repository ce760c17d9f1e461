//! `state list` and `state show`.

use fleetform_contract::Record;
use fleetform_state::State as Folded;
use serde_json::json;

use super::arguments::{List, Show};
use crate::cli::Ended;
use crate::cli::screen::{Screen, write_out};
use crate::cli::session::Setting;
use crate::plan::{Pattern, Placed};
use crate::view;

pub async fn list(screen: &Screen, setting: &Setting, arguments: &List) -> Ended {
    let (kept, state) = super::open(screen, setting).await?;
    // A block is a pattern; anything else is the beginning of addresses.
    let is_block =
        |text: &String| ["service.", "job.", "cloud."].iter().any(|b| text.starts_with(b));
    let (blocks, prefixes): (Vec<String>, Vec<String>) =
        arguments.addresses.iter().cloned().partition(is_block);
    let blocks: Result<Vec<Pattern>, _> =
        blocks.iter().map(|text| Pattern::read(text, &kept.stack)).collect();
    let blocks = blocks.map_err(|diagnostic| vec![*diagnostic])?;
    let wanted = |record: &&Record| {
        let address = record.address.to_string();
        let placed = Placed::of(record);
        let named = arguments.addresses.is_empty()
            || prefixes.iter().any(|prefix| address.starts_with(prefix.as_str()))
            || blocks.iter().any(|block| block.fits(placed));
        named
            && arguments.cloud.as_ref().is_none_or(|cloud| record.cloud == *cloud)
            && arguments.site.as_ref().is_none_or(|site| record.site.as_ref() == Some(site))
    };
    let records: Vec<&Record> = state.records.values().filter(wanted).collect();
    if arguments.json {
        let records = records.iter().map(|record| {
            json!({
                "address": record.address.to_string(),
                "type": record.address.kind,
                "name": record.address.name,
                "index": record.address.key,
                "id": record.id,
                "cloud": record.cloud,
                "site": record.site,
                "version": record.version,
                "protected_by": state.protected.get(&record.address),
            })
        });
        write_out(&format!("{:#}\n", records.collect::<serde_json::Value>()));
        return Ok(0);
    }
    let width = records.iter().map(|record| record.address.to_string().chars().count()).max();
    for record in records {
        let address = record.address.to_string();
        match arguments.id {
            true => {
                write_out(&format!(
                    "{address:<width$}  {}\n",
                    record.id,
                    width = width.unwrap_or(0)
                ));
            }
            false => write_out(&format!("{address}\n")),
        }
    }
    Ok(0)
}

pub async fn show(screen: &Screen, setting: &Setting, arguments: &Show) -> Ended {
    let (kept, state) = super::open(screen, setting).await?;
    let texts = std::slice::from_ref(&arguments.address);
    let addresses = super::named(&kept, &state, texts)?;
    if arguments.json {
        let shown = |address| json(&state, &state.records[address]);
        let json = match addresses.as_slice() {
            [address] => shown(address),
            several => several.iter().map(shown).collect(),
        };
        write_out(&format!("{json:#}\n"));
        return Ok(0);
    }
    for (index, address) in addresses.iter().enumerate() {
        let gap = if index > 0 { "\n" } else { "" };
        write_out(&format!("{gap}{}", view::change::record(&state.records[address])));
        if let Some(by) = state.protected.get(address) {
            write_out(&format!("# protected from destruction by {by}\n"));
        }
    }
    Ok(0)
}

fn json(state: &Folded, record: &Record) -> serde_json::Value {
    let mut json = view::json::record(record);
    json["fleetform"] = json!({
        "id": record.id,
        "cloud": record.cloud,
        "site": record.site,
        "version": record.version,
        "protected_by": state.protected.get(&record.address),
    });
    json
}
