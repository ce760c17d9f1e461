//! Stack → how large its loads are now, asked from the Prometheus server that the stack names.
//!
//! An answer counts only if it is one number that a load can be. Everything else (no answer, no sample,
//! several, not a number) is a diagnostic: nothing is ever scaled by what was not measured.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::config::Stack;
use crate::diagnostic::Diagnostic;

/// How long one query may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `GET /api/v1/query` answers
/// (<https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries>).
#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Answer {
    Success { data: Data },
    Error { error: String },
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Scalar(Sample),
    Vector(Vec<Series>),
    /// Ranges, and texts.
    Matrix(serde::de::IgnoredAny),
    String(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Series {
    value: Sample,
}

/// When, and what.
#[derive(Deserialize)]
struct Sample(#[expect(dead_code, reason = "the time of the sample is not asked for")] f64, String);

/// The loads that the stack says by a query, in requests a second by workload.
///
/// # Errors
/// One diagnostic for each query without a usable answer.
pub async fn measure(stack: &Stack) -> Result<BTreeMap<String, f64>, Vec<Diagnostic>> {
    measure_within(stack, PATIENCE).await
}

async fn measure_within(
    stack: &Stack,
    patience: Duration,
) -> Result<BTreeMap<String, f64>, Vec<Diagnostic>> {
    let mut loads = BTreeMap::new();
    let mut failures = Vec::new();
    let Some(server) = &stack.prometheus else { return Ok(loads) };
    let client = reqwest::Client::builder().timeout(patience).build();
    for (name, query) in stack.queries() {
        let answer = match &client {
            Ok(client) => ask(client, server, query).await,
            Err(error) => Err((causes(error), "")),
        };
        match answer {
            Ok(load) => {
                loads.insert(name.to_owned(), load);
            }
            Err((why, hint)) => {
                let workload = &stack.workloads[name];
                let detail = format!(
                    "The load of `{}` is what {server} answers to `{query}`: {why}.",
                    workload.reference
                );
                let failure = Diagnostic::error("Load could not be measured", detail)
                    .at(stack.span(&format!("{}.load.from_prometheus", workload.path)))
                    .about(&workload.reference);
                failures.push(if hint.is_empty() { failure } else { failure.hint(hint) });
            }
        }
    }
    if failures.is_empty() { Ok(loads) } else { Err(failures) }
}

/// One number, or why there is none and what to do.
async fn ask(
    client: &reqwest::Client,
    server: &str,
    query: &str,
) -> Result<f64, (String, &'static str)> {
    let url = format!("{}/api/v1/query", server.trim_end_matches('/'));
    let response = client.get(url).query(&[("query", query)]).send().await;
    let reach = "check `url` in `monitoring`, and that the server can be reached from here";
    let response = response.map_err(|error| (causes(&error.without_url()), reach))?;
    let status = response.status();
    let body = response.bytes().await.map_err(|error| (causes(&error.without_url()), reach))?;
    // Mistakes in a query come with a status of 400 or 422 and words.
    let answer: Answer = match serde_json::from_slice(&body) {
        Ok(answer) => answer,
        Err(_) if !status.is_success() => return Err((format!("it answered {status}"), reach)),
        Err(error) => {
            let why = format!("its answer is not one of a Prometheus server ({error})");
            return Err((why, "`url` is the server's base, to which /api/v1/query is added"));
        }
    };
    let data = match answer {
        Answer::Success { data } => data,
        Answer::Error { error } => return Err((error, "correct the query")),
    };
    let text = match data {
        Data::Scalar(Sample(_, text)) => text,
        Data::Vector(mut series) => match (series.pop(), series.len()) {
            (Some(one), 0) => one.value.1,
            (None, _) => {
                let hint =
                    "check the query; `… or vector(0)` makes a 0 of nothing, if that is meant";
                return Err(("nothing matches".to_owned(), hint));
            }
            (Some(_), more) => {
                let why = format!("{} series, where one is wanted", more + 1);
                return Err((why, "put `sum(…)` around the query"));
            }
        },
        Data::Matrix(_) | Data::String(_) => {
            let hint = "a load is one number as of now: `rate(…)` makes one of a range";
            return Err(("a range or a text, where one number is wanted".to_owned(), hint));
        }
    };
    match text.parse::<f64>() {
        Ok(load) if load.is_finite() && load >= 0.0 => Ok(load),
        _ => Err((format!("{text}, which is no load"), "a load is 0 or more requests a second")),
    }
}

/// An error with what is behind it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests;
