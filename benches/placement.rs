//! What placing costs, beside the plain formulation given to the same solver: `cargo bench --bench placement`.
//!
//! Each measurement is a process of its own, which says its CPU time and the most memory it had. The plain
//! formulation of a large instance takes very long; it is given so much CPU time and then ended:
//! `FLEETFORM_BENCH_CPU_SECONDS` (300). `-- 100 1000` measures the instances with so many services alone.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use fleetform::config::{self, Inputs};
use fleetform::placement;
use fleetform::problem::{self, Problem};
use fleetform_contract::SecretKey;

mod instances;

use instances::Extent;

/// The gap at which the plain formulation may end.
const GAP: f64 = 1e-3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|one| one != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["measure", way, kind, services, extent] => measure(way, kind, services, extent),
        numbers => compare(numbers),
    }
    ExitCode::SUCCESS
}

fn pose(kind: &str, services: &str, extent: &str) -> Problem {
    let services = services.parse().expect("a number of services");
    let extent = if extent == "all" { Extent::All } else { Extent::Few };
    let text = match kind {
        "loads" => instances::loads(services, 1, extent),
        _ => instances::fleet(services, 1, extent),
    };
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("main.hcl"), text).expect("written");
    let loaded = config::load(directory.path(), &Inputs::new(SecretKey::new([0; 32])));
    let stack = loaded.unwrap_or_else(|failure| panic!("{:?}", failure.diagnostics.first()));
    let mut offerings = BTreeMap::new();
    let mut quotas = BTreeMap::new();
    let mut tariffs = BTreeMap::new();
    for (name, cloud) in &stack.clouds {
        let provider = fleetform_providers::provider(cloud).expect("a cloud");
        offerings.insert(name.clone(), provider.offerings());
        quotas.insert(name.clone(), cloud.quotas.clone());
        tariffs.insert(name.clone(), provider.tariff());
    }
    problem::pose(&stack, &offerings, &quotas, &tariffs, None).expect("it can be posed")
}

/// One line: pairs, gap, objective, seconds, CPU seconds, MiB.
fn measure(way: &str, kind: &str, services: &str, extent: &str) {
    let started = Instant::now();
    let problem = pose(kind, services, extent);
    let pairs: usize = problem.demands.iter().map(|demand| demand.candidates.len()).sum();
    let (gap, objective) = match way {
        "ours" => {
            let placement = placement::solve(&problem).expect("it can be placed");
            placement::check(&problem, &placement).expect("it is sound");
            (placement.proof.gap, placement.proof.objective_month)
        }
        _ => {
            let plain = placement::plain(&problem, GAP);
            let objective = plain.objective_month.unwrap_or(f64::NAN);
            ((objective - plain.bound_month) / objective, objective)
        }
    };
    let (cpu, memory) = spent();
    let seconds = started.elapsed().as_secs_f64();
    println!("{pairs} {gap:.5} {objective:.0} {seconds:.2} {cpu:.2} {memory:.0}");
}

/// CPU seconds and the most MiB of this process.
fn spent() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    // After the name, which may hold anything: user and system time are the 12th and 13th.
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let ticks =
        fields.split_whitespace().skip(11).take(2).filter_map(|text| text.parse::<f64>().ok());
    // Linux counts them in hundredths.
    (ticks.sum::<f64>() / 100.0, peak("self").unwrap_or(f64::NAN))
}

/// The most MiB that a process had.
fn peak(process: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(peak.trim().trim_end_matches(" kB").parse::<f64>().ok()? / 1024.0)
}

/// All instances, or those with one of these numbers of services.
fn compare(numbers: &[&str]) {
    println!("| instance | pairs | way | gap | $/month | s | CPU s | MiB |");
    println!("|---|---|---|---|---|---|---|---|");
    let instances = [
        ("fleet", "10", "all", true),
        ("fleet", "100", "few", true),
        ("fleet", "100", "all", true),
        ("fleet", "300", "all", false),
        ("fleet", "1000", "few", true),
        ("fleet", "1000", "all", true),
        ("fleet", "5000", "all", false),
        ("loads", "200", "all", true),
    ];
    let is_asked = |services: &str| numbers.is_empty() || numbers.contains(&services);
    for (kind, services, extent, beside) in instances {
        if !is_asked(services) {
            continue;
        }
        run("ours", kind, services, extent);
        if beside {
            run("plain", kind, services, extent);
        }
    }
}

fn run(way: &str, kind: &str, services: &str, extent: &str) {
    let limit = std::env::var("FLEETFORM_BENCH_CPU_SECONDS").unwrap_or_else(|_| "300".to_owned());
    let program = std::env::current_exe().expect("a program");
    // The shell's limit on CPU time is the system's own, and ends the process.
    let script = format!("ulimit -t {limit}; exec \"$0\" \"$@\"");
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .arg(program)
        .args(["measure", way, kind, services, extent])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    // What is ended cannot say itself how much memory it had.
    let mut most = 0.0_f64;
    while child.try_wait().expect("a child").is_none() {
        most = most.max(peak(&child.id().to_string()).unwrap_or(0.0));
        std::thread::sleep(Duration::from_millis(200));
    }
    let output = child.wait_with_output().expect("a child");
    let instance = match kind {
        "loads" => format!("{services} services sized by load"),
        _ => format!("{services} services"),
    };
    let extent = if extent == "all" { "all regions" } else { "three regions" };
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        [pairs, gap, objective, seconds, cpu, memory] => {
            println!(
                "| {instance}, {extent} | {pairs} | {way} | {gap} | {objective} | {seconds} | {cpu} | {memory} |"
            );
        }
        _ => println!(
            "| {instance}, {extent} | | {way} | not ended | | | more than {limit} | {most:.0} |"
        ),
    }
}
