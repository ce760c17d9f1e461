//! Valid stacks with something wrong put into them: whatever it is, an answer comes.

use proptest::prelude::*;

use super::*;

const STACK: &str = r#"
fleetform {
  required_version = ">= 0.1"
}

variable "sizes" {
  type = map(object({ replicas = number, memory = optional(string, "16GiB") }))
  default = {
    eu = { replicas = 2 }
    us = { replicas = 3, memory = "32GiB" }
  }
}

locals {
  names  = [for name, size in var.sizes : upper(name) if size.replicas > 1]
  banner = <<-EOT
    Hello ${join(", ", local.names)}
    %{for name in local.names~}
    - ${name}
    %{endfor~}
  EOT
}

cloud "aws" {
  regions  = ["us-east-1", "eu-west-1"]
  discount = 0.1

  quota {
    region   = "us-east-1"
    gpu_type = "L4"
    max_gpus = 8
  }
}

registry "main" {
  clouds = [cloud.aws]
}

image "chat" {
  source = "ghcr.io/acme/chat:1.4.2"
}

model "llama-8b" {
  weights {
    source = "s3://acme/llama/"
    size   = "16GiB"
  }

  throughput "L4" {
    requests_per_second = 4
    latency_p95         = "410ms"
  }
}

service "chat" {
  for_each = var.sizes
  image    = image.chat
  model    = model.llama-8b
  replicas = each.value.replicas
  port     = 8080

  env = {
    REGISTRY = registry.main.urls["aws/us-east-1"]
    BANNER   = local.banner
    SELF     = service.chat[each.key].url
  }

  secret_env "TOKEN" {
    secret = "hf"
    key    = "token"
  }

  resources {
    gpus      = 1
    gpu_types = ["L4", "A100"]
    memory    = each.value.memory
  }

  placement {
    clouds  = [cloud.aws]
    markets = ["on_demand", "spot"]

    spot {
      max_share = 0.5
    }

    spread {
      over = "region"
      min  = 2
    }
  }

  autoscale {
    min = 1
    max = 5
  }

  health {
    path = "/healthz"
  }
}

job "finetune" {
  image    = image.chat
  nodes    = 2
  duration = "6h"
  schedule = "0 3 * * *"
}

optimize {
  budget = 20000
}

output "urls" {
  value = { for key, it in service.chat : key => it.url }
}
"#;

/// What a slip of the finger, or somebody with bad intent, puts into a text.
const PIECES: [&str; 40] = [
    "",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "\"",
    "${",
    "%{",
    "~}",
    "=",
    "==",
    "=>",
    "...",
    ".",
    ",",
    "\n",
    "\\",
    "<<EOT\n",
    "EOT\n",
    "null",
    "-1",
    "1e999",
    "99999999999999999999",
    "\0",
    "é",
    "\u{feff}",
    "#",
    "/*",
    "var.sizes",
    "each.value",
    "for x in",
    "? :",
    "[*]",
    "service.chat",
    "local.banner",
    "0.5",
    "%{ if",
    "\r",
];

#[test]
fn the_stack_without_changes_is_right() {
    let stack = stack(&[("main.hcl", STACK)]).unwrap_or_else(|f| panic!("{:#?}", f.diagnostics));
    assert_eq!(stack.workloads.len(), 3);
    assert_eq!(format(STACK).expect("it is HCL"), STACK, "and in its canonical form");
}

fn floor(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Replaces stretches of the stack. Diagnostics point into the text, and what is HCL still can be
    /// formatted twice.
    #[test]
    fn no_change_makes_it_panic(
        changes in prop::collection::vec((0..STACK.len(), 0..12usize, 0..PIECES.len()), 1..4)
    ) {
        let mut text = STACK.to_owned();
        for (at, length, piece) in changes {
            let (start, end) = (floor(&text, at), floor(&text, at + length));
            text.replace_range(start..end, PIECES[piece]);
        }
        if let Err(failure) = stack(&[("main.hcl", &text)]) {
            prop_assert!(failure.diagnostics.iter().any(Diagnostic::is_error));
            for diagnostic in &failure.diagnostics {
                prop_assert!(!diagnostic.summary.is_empty() && !diagnostic.detail.is_empty());
                if let Some(span) = &diagnostic.span {
                    let source = &failure.sources.files[&span.file];
                    prop_assert!(span.start <= span.end && span.end <= source.len(), "{diagnostic:?}");
                    prop_assert!(source.is_char_boundary(span.start), "{diagnostic:?}");
                }
            }
        }
        if let Ok(once) = format(&text) {
            prop_assert_eq!(format(&once), Ok(once.clone()));
        }
    }
}
