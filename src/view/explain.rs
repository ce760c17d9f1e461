//! Why a workload runs where it runs, and what a change comes from, as people read it.

use super::Paint;
use super::money::{difference, dollars};
use super::table::{Align, table};
use crate::placement::{self, Cause, Explanation, Placement, Seats, Threshold};
use crate::plan::Change;

/// The whole explanation. It ends with a newline.
pub fn explanation(told: &Explanation, paint: Paint) -> String {
    let mut text = format!("{}\n\n", paint.bold(&format!("{} runs on", told.reference)));
    let rows = told.seats.iter().map(|seats| {
        let cost = format!("${}", dollars(seats.cost_month));
        [vec![seats.replicas.to_string()], place(seats), vec![cost]].concat()
    });
    text += &table("  ", &COLUMNS, &rows.collect::<Vec<_>>());
    let is_proven = told.total_month - told.bound_month < 0.005;
    let proof = match is_proven {
        true if told.has_moves => {
            "no other placement that keeps every limit saves enough to move (`move_penalty`)"
                .to_owned()
        }
        true => "no other placement that keeps every limit costs less".to_owned(),
        false => format!("no placement costs less than ${}", dollars(told.bound_month)),
    };
    text += &format!(
        "\n{} at {} can hold a replica of it. With these, everything together costs\n${} a month, and {proof}.\n",
        count(told.offerings, "offering"),
        count(told.sites, "site"),
        dollars(told.total_month),
    );
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
            let extra = if first { difference(alternative.extra_month) } else { String::new() };
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
            "  {}{place}: {} saves ${} a month\n",
            relief.limit,
            relief.more,
            dollars(relief.saving_month)
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
    use crate::placement::{Alternative, Relief};

    fn seats(offering: &str, replicas: u32, cost_month: f64) -> Seats {
        Seats { workload: "chat".into(), offering: offering.into(), replicas, cost_month }
    }

    #[test]
    fn an_explanation_reads_from_where_to_what_if() {
        let told = Explanation {
            reference: "service.chat".into(),
            seats: vec![seats("aws/us-east-1/g6.xlarge/on_demand", 2, 1175.0)],
            total_month: 2350.5,
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
        };
        insta::assert_snapshot!(explanation(&told, Paint::Plain), @r"
        service.chat runs on

          replicas  cloud/region   type       market       a month
                 2  aws/us-east-1  g6.xlarge  on_demand  $1,175.00

        37 offerings at 1 site can hold a replica of it. With these, everything together costs
        $2,350.50 a month, and no other placement that keeps every limit costs less.

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
