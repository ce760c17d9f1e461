//! What random and crash tests are given, in process and of the program: a stack, and numbers from a seed.

/// One cluster with one pool, and a service on it.
pub const STACK: &str = r#"
cloud "aws" { regions = ["us-east-1"] }
image "chat" { source = "ghcr.io/acme/chat:1.4.2" }
service "chat" {
  image    = image.chat
  replicas = 2
  port     = 8080
  resources {
    gpus      = 1
    gpu_types = ["L4"]
    cpus      = 2
    memory    = "8GiB"
  }
}
"#;

/// The same cloud with nothing on it.
pub const EMPTY: &str = "cloud \"aws\" { regions = [\"us-east-1\"] }\n";

/// SplitMix64: a printed seed means the same for ever, which no crate's standard generator promises.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1.
    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn chance(&mut self, share: f64) -> bool {
        self.share() < share
    }

    /// From 0 to one less than this.
    pub fn below(&mut self, end: usize) -> usize {
        (self.share() * end as f64) as usize
    }
}
