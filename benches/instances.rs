//! Stacks of any number of services, as they are written: the instances that placement is measured on. The same number
//! and seed give the same text on every machine.

use std::fmt::Write;

/// A generator that is the same on every machine (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len() as u64) as usize]
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }
}

/// How much of the clouds may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Every region of the three catalogs.
    All,
    /// One region of each cloud.
    Few,
}

/// Services that may run on every region of three clouds, unless they say otherwise. A third needs no GPU;
/// of the others, six in ten name its type. Sizes are as odd as in real fleets, so that hardly two services
/// are equal; a tenth is spread, a tenth has a limit on spot nodes, one in twenty stays at one site. Two
/// quotas grow with the number of services, so that they bind.
pub fn fleet(services: usize, seed: u64, extent: Extent) -> String {
    let mut dice = Dice(seed);
    let mut text = String::from("image \"app\" {\n  source = \"registry.example.com/app:1\"\n}\n");
    let quota = |region: &str, gpu_type: &str, max_gpus: usize| {
        format!(
            "\n  quota {{\n    region = \"{region}\"\n    gpu_type = \"{gpu_type}\"\n    max_gpus = \
             {max_gpus}\n  }}\n"
        )
    };
    let of_aws = quota("us-east-1", "H100", 8 + services / 4);
    let of_gcp = quota("us-central1", "L4", 8 + services / 4);
    let clouds = [
        ("aws", "us-east-1", of_aws),
        ("azure", "eastus", String::new()),
        ("gcp", "us-central1", of_gcp),
    ];
    for (name, region, quota) in clouds {
        let regions = match extent {
            Extent::All => String::new(),
            Extent::Few => format!("\n  regions = [\"{region}\"]\n"),
        };
        let _ = writeln!(text, "cloud \"{name}\" {{{regions}{quota}}}");
    }
    for number in 0..services {
        service(&mut text, &mut dice, number, extent);
    }
    text
}

fn service(text: &mut String, dice: &mut Dice, number: usize, extent: Extent) {
    let replicas = 1 + dice.roll(12);
    let gpus = dice.pick(&[0, 0, 0, 1, 1, 1, 2, 4, 8]);
    let cpus = match gpus {
        0 => dice.pick(&[0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0]),
        gpus => dice.pick(&[1.0, 2.0, 3.0, 4.0, 6.0]) * gpus as f64,
    };
    let memory = (cpus * dice.pick(&[1.0, 2.0, 3.0, 4.0, 6.0])).ceil() as u64 + dice.roll(4);
    let mut resources = format!("cpus = {cpus}\n    memory = \"{memory}GiB\"\n");
    if gpus > 0 {
        let _ = writeln!(resources, "    gpus = {gpus}");
        if dice.chance(60) {
            let gpu_type = dice.pick(&["L4", "A100", "A100-80GB", "H100", "T4"]);
            let _ = writeln!(resources, "    gpu_types = [\"{gpu_type}\"]");
        } else {
            let memory = dice.pick(&[16, 22, 40, 80]);
            let _ = writeln!(resources, "    gpu_memory = \"{memory}GiB\"");
        }
    }
    let mut placement = String::new();
    if dice.chance(40) {
        placement += "    markets = [\"on_demand\", \"spot\"]\n";
        if dice.chance(25) {
            placement += "    spot {\n      max_share = 0.5\n    }\n";
        }
    }
    if dice.chance(20) && extent == Extent::All {
        let regions =
            dice.pick(&["\"us-*\", \"*us*\"", "\"eu*\", \"*europe*\"", "\"*asia*\", \"ap-*\""]);
        let _ = writeln!(placement, "    regions = [{regions}]");
    }
    // Not every cloud has machines of every type with eight.
    if replicas > 2 && gpus < 8 && dice.chance(10) {
        let over = if extent == Extent::All { dice.pick(&["cloud", "region"]) } else { "cloud" };
        let _ =
            writeln!(placement, "    spread {{\n      over = \"{over}\"\n      min = 2\n    }}");
    } else if dice.chance(5) {
        placement += "    split = false\n";
    }
    let _ = write!(
        text,
        "service \"s{number}\" {{\n  image = image.app\n  replicas = {replicas}\n  resources {{\n    \
         {resources}  }}\n  placement {{\n{placement}  }}\n}}\n"
    );
}

/// Services that are sized by a load, on a mix of GPU types that serve it at different rates.
pub fn loads(services: usize, seed: u64, extent: Extent) -> String {
    let mut dice = Dice(seed);
    let mut text = fleet(0, seed, extent);
    for number in 0..services {
        let base = 1.0 + dice.roll(20) as f64;
        let _ = writeln!(text, "model \"m{number}\" {{");
        for (gpu_type, factor) in [("T4", 0.5), ("L4", 1.0), ("A100", 4.0), ("H100", 9.0)] {
            let rate = base * factor * (80 + dice.roll(40)) as f64 / 100.0;
            let _ = writeln!(
                text,
                "  throughput \"{gpu_type}\" {{\n    requests_per_second = {rate:.2}\n  }}"
            );
        }
        let load = 5 + dice.roll(400);
        let cpus = dice.pick(&[1.0, 2.0, 3.0]);
        let _ = writeln!(
            text,
            "}}\nservice \"l{number}\" {{\n  image = image.app\n  model = model.m{number}\n  load {{\n    \
             requests_per_second = {load}\n  }}\n  resources {{\n    cpus = {cpus}\n    memory = \
             \"8GiB\"\n    gpus = 1\n  }}\n}}"
        );
    }
    text
}
