//! Why a workload runs where it runs, and what a change comes from, as people read it.

use super::Paint;
use super::money::{difference, dollars};
use super::table::{Align, table};
use crate::placement::{self, Call, Cause, Explanation, Placement, Seats, Threshold};
use crate::plan::Change;

/// The whole explanation. It ends with a newline.
pub fn explanation(told: &Explanation, paint: Paint) -> String {
    let mut text = format!("{}\n\n", paint.bold(&format!("{} runs on", told.reference)));
    let rows = told.seats.iter().map(|seats| {
        let cost = format!("${}", dollars(seats.cost_month));
        [vec![seats.replicas.to_string()], place(seats), vec![cost]].concat()
    });
    text += &table("  ", &COLUMNS, &rows.collect::<Vec<_>>());
    let objective_month = told.objective_month.unwrap_or(told.total_month);
    let is_proven = objective_month - told.bound_month < 0.005;
    let proof = match is_proven {
        true if told.has_moves => {
            "no other placement that keeps every limit saves enough to move (`move_penalty`)"
                .to_owned()
        }
        true if told.objective_month.is_some() => {
            "no other placement that keeps every limit is below that".to_owned()
        }
        true => "no other placement that keeps every limit costs less".to_owned(),
        false if told.objective_month.is_some() => {
            format!("no placement is below {}", dollars(told.bound_month))
        }
        false => format!("no placement costs less than ${}", dollars(told.bound_month)),
    };
    let weighed = told
        .objective_month
        .map_or(String::new(), |objective| format!(" (the objective is {})", dollars(objective)));
    text += &format!(
        "\n{} at {} can hold a replica of it. With these, everything together costs\n${} a month{weighed}, and {proof}.\n",
        count(told.offerings, "offering"),
        count(told.sites, "site"),
        dollars(told.total_month),
    );
    text += &calls(told, paint);
    text += &alternatives(told, paint);
    text += &limits(told, paint);
    text += &prices(told, paint);
    text
}

/// From the stack to one change: the workloads, their seats, the change. It ends with a newline.
pub fn causes(change: &Change, causes: &[Cause], paint: Paint) -> String {
    let mut text = String::new();
    for cause in causes {
        let (before, now) = cause.replicas;
        let place = cause.place.as_ref().map_or(String::new(), |place| format!(" ({place})"));
        let asks = match (before, now) {
            (0, now) => format!("asks for {}, new", count(now as usize, "replica")),
            (_, 0) => "is not in the stack any more".to_owned(),
            (before, now) if before == now => {
                format!("asks for {}, as before", count(now as usize, "replica"))
            }
            (before, now) => {
                format!("asks for {}, {before} before", count(now as usize, "replica"))
            }
        };
        text += &format!("{}{place} {asks}\n", paint.bold(&cause.reference));
        for (offering, (before, now)) in &cause.seats {
            let seats = if before == now { now.to_string() } else { format!("{before} -> {now}") };
            text += &format!("  on {offering}: {seats}\n");
        }
    }
    if causes.is_empty() {
        text += "No workload's seats stand behind this object: it serves the whole stack.\n";
    }
    if change.is_nothing() {
        return text
            + &format!("\nSo nothing changes:\n\n  {} is as it should be\n", change.address);
    }
    text + "\nSo this changes:\n\n" + &super::change::change(change, paint)
}

/// What a placement under other conditions costs beside the usual one, and who moves.
pub fn comparison(usual: &Placement, decided: &Placement) -> String {
    let (before, after) = (usual.cost.total_month, decided.cost.total_month);
    let moved = placement::moved(usual, decided);
    let moves = match moved.as_slice() {
        [] => "nothing moves".to_owned(),
        moved => format!("{} would run elsewhere", moved.join(", ")),
    };
    format!(
        "\nBeside the placement as things are: ${} → ${} a month ({}); {moves}.\n",
        dollars(before),
        dollars(after),
        difference(after - before)
    )
}

const COLUMNS: [(&str, Align); 5] = [
    ("replicas", Align::Right),
    ("cloud/region", Align::Left),
    ("type", Align::Left),
    ("market", Align::Left),
    ("a month", Align::Right),
];

/// Who it talks to, and where that costs something.
fn calls(told: &Explanation, paint: Paint) -> String {
    if told.traffic.is_empty() {
        return String::new();
    }
    let rows = told.traffic.iter().map(|Call { flow, cost_month }| {
        let cost = if *cost_month > 0.0 {
            format!("${}", dollars(*cost_month))
        } else {
            "free".to_owned()
        };
        let mbps = (flow.mbps * 1000.0).round() / 1000.0;
        let (from, to) = (&flow.from, &flow.to);
        vec![
            format!("{from} to {to}"),
            format!("{mbps} Mbps"),
            flow.from_site.clone(),
            flow.to_site.clone(),
            cost,
        ]
    });
    let columns = [
        ("traffic", Align::Left),
        ("", Align::Right),
        ("from", Align::Left),
        ("to", Align::Left),
        ("a month", Align::Right),
    ];
    let table = table("  ", &columns, &rows.collect::<Vec<_>>());
    format!("\n{}\n\n{table}", paint.bold("What it talks to"))
}

/// An amount of what is minimised: dollars, or a number without unit where weights are.
fn amount(told: &Explanation, amount: f64) -> String {
    let sign = if told.objective_month.is_none() { "$" } else { "" };
    format!("{sign}{}", dollars(amount))
}

fn alternatives(told: &Explanation, paint: Paint) -> String {
    let mut text = format!("\n{}\n\n", paint.bold("The next best places"));
    if told.alternatives.is_empty() {
        return text + "  Nothing else can hold it.\n";
    }
    let mut rows = Vec::new();
    for (index, alternative) in told.alternatives.iter().enumerate() {
        for (number, seats) in alternative.seats.iter().enumerate() {
            let first = number == 0;
            let rank = if first { format!("{}.", index + 1) } else { String::new() };
            let extra = difference(alternative.extra_month);
            let extra = match &told.objective_month {
                _ if !first => String::new(),
                None => extra,
                Some(_) => extra.replace('$', ""),
            };
            let moves = if first { alternative.moves.join(", ") } else { String::new() };
            rows.push(
                [vec![rank, seats.replicas.to_string()], place(seats), vec![extra, moves]].concat(),
            );
        }
    }
    let columns = [
        ("", Align::Left),
        ("replicas", Align::Right),
        ("cloud/region", Align::Left),
        ("type", Align::Left),
        ("market", Align::Left),
        ("more a month", Align::Right),
        ("moves too", Align::Left),
    ];
    text += &table("  ", &columns, &rows);
    if told.objective_month.is_some() {
        text += "\n  \"More\" is in the unit of the objective: dollars, kilograms and milliseconds by their weights.\n";
    }
    if told.is_complete {
        text += "\n  Nothing else can hold it.\n";
    }
    text
}

fn limits(told: &Explanation, paint: Paint) -> String {
    if told.limits.is_empty() {
        return "\nNo limit of the stack costs money here.\n".to_owned();
    }
    let mut text = format!("\n{}\n\n", paint.bold("Limits that cost money"));
    for relief in &told.limits {
        let place = relief.place.as_ref().map_or(String::new(), |place| format!(" ({place})"));
        text += &format!(
            "  {}{place}: {} saves {} a month\n",
            relief.limit,
            relief.more,
            amount(told, relief.saving_month)
        );
    }
    text
}

fn prices(told: &Explanation, paint: Paint) -> String {
    if told.prices.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{}\n\n", paint.bold("It would move if"));
    for Threshold { offering, price_hour, moves_at_hour } in &told.prices {
        let verb = if moves_at_hour > price_hour { "rose above" } else { "fell below" };
        let percent = (moves_at_hour / price_hour - 1.0) * 100.0;
        text += &format!(
            "  the price of {offering} {verb} ${moves_at_hour:.4} an hour (now ${price_hour:.4}, {percent:+.1} %)\n"
        );
    }
    text
}

/// `aws/us-east-1`, `g6.xlarge`, `spot`.
fn place(seats: &Seats) -> Vec<String> {
    let mut parts = seats.offering.rsplitn(3, '/');
    let market = parts.next().unwrap_or_default().to_owned();
    let instance_type = parts.next().unwrap_or_default().to_owned();
    vec![parts.next().unwrap_or_default().to_owned(), instance_type, market]
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::{Alternative, Flow, Relief};

    fn seats(offering: &str, replicas: u32, cost_month: f64) -> Seats {
        Seats { workload: "chat".into(), offering: offering.into(), replicas, cost_month }
    }

    fn call(from: &str, from_site: &str, to_site: &str, mbps: f64, cost_month: f64) -> Call {
        let [from, to, from_site, to_site] =
            [from, "ranker", from_site, to_site].map(str::to_owned);
        Call { flow: Flow { from, to, from_site, to_site, mbps }, cost_month }
    }

    #[test]
    fn under_weights_amounts_have_the_unit_of_the_objective() {
        let told = Explanation {
            reference: "service.chat".into(),
            seats: vec![seats("aws/us-east-1/g6.xlarge/on_demand", 2, 1175.0)],
            total_month: 2350.5,
            objective_month: Some(2600.0),
            bound_month: 2600.0,
            has_moves: false,
            offerings: 2,
            sites: 1,
            alternatives: vec![Alternative {
                seats: vec![seats("aws/us-east-1/g5.xlarge/spot", 2, 600.0)],
                extra_month: 125.0,
                moves: Vec::new(),
            }],
            is_complete: true,
            limits: vec![Relief {
                limit: "`cloud.azure` has capacity for 10 GPUs".into(),
                place: None,
                more: "1 more GPU".into(),
                saving_month: 740.0,
            }],
            prices: Vec::new(),
            traffic: Vec::new(),
        };
        let text = explanation(&told, Paint::Plain);
        for part in [
            "$2,350.50 a month (the objective is 2,600.00), and no other placement that keeps every limit \
             is below that.",
            " +125.00",
            "in the unit of the objective",
            "1 more GPU saves 740.00 a month",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }

    #[test]
    fn an_explanation_reads_from_where_to_what_if() {
        let told = Explanation {
            reference: "service.chat".into(),
            seats: vec![seats("aws/us-east-1/g6.xlarge/on_demand", 2, 1175.0)],
            total_month: 2350.5,
            objective_month: None,
            bound_month: 2350.5,
            has_moves: false,
            offerings: 37,
            sites: 1,
            alternatives: vec![Alternative {
                seats: vec![
                    seats("aws/us-east-1/g5.xlarge/spot", 1, 600.0),
                    seats("gcp/us-central1/g2-standard-4/on_demand", 1, 700.0),
                ],
                extra_month: 125.0,
                moves: vec!["search".into()],
            }],
            is_complete: true,
            limits: vec![Relief {
                limit: "`cloud.azure` has capacity for 10 GPUs".into(),
                place: Some("main.hcl:14".into()),
                more: "1 more GPU".into(),
                saving_month: 740.0,
            }],
            prices: vec![
                Threshold {
                    offering: "aws/us-east-1/g6.xlarge/on_demand".into(),
                    price_hour: 0.8048,
                    moves_at_hour: 0.8904,
                },
                Threshold {
                    offering: "aws/us-east-1/g5.xlarge/spot".into(),
                    price_hour: 1.0,
                    moves_at_hour: 0.5,
                },
            ],
            traffic: vec![
                call("chat", "aws/us-east-1", "aws/us-east-1", 12.5, 0.0),
                call("chat", "aws/us-east-1", "gcp/us-central1", 7.5, 221.74),
            ],
        };
        insta::assert_snapshot!(explanation(&told, Paint::Plain), @r"
        service.chat runs on

          replicas  cloud/region   type       market       a month
                 2  aws/us-east-1  g6.xlarge  on_demand  $1,175.00

        37 offerings at 1 site can hold a replica of it. With these, everything together costs
        $2,350.50 a month, and no other placement that keeps every limit costs less.

        What it talks to

          traffic                    from           to               a month
          chat to ranker  12.5 Mbps  aws/us-east-1  aws/us-east-1       free
          chat to ranker   7.5 Mbps  aws/us-east-1  gcp/us-central1  $221.74

        The next best places

              replicas  cloud/region     type           market     more a month  moves too
          1.         1  aws/us-east-1    g5.xlarge      spot           +$125.00  search
                     1  gcp/us-central1  g2-standard-4  on_demand

          Nothing else can hold it.

        Limits that cost money

          `cloud.azure` has capacity for 10 GPUs (main.hcl:14): 1 more GPU saves $740.00 a month

        It would move if

          the price of aws/us-east-1/g6.xlarge/on_demand rose above $0.8904 an hour (now $0.8048, +10.6 %)
          the price of aws/us-east-1/g5.xlarge/spot fell below $0.5000 an hour (now $1.0000, -50.0 %)
        ");
    }
}
