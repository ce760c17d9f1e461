//! Every mistake that has words of its own, pinned with them.

use std::fmt::Write as _;

use super::*;

const BASE: &str = r#"
cloud "aws" { regions = ["us-east-1"] }
image "x" { source = "x:1" }
"#;

/// A title and the text that makes the mistake; `SERVICE` stands for a service's beginning.
const MISTAKES: &[(&str, &str)] = &[
    // Texts.
    ("unterminated string", "locals {\n  a = \"x\n}"),
    ("unterminated heredoc", "locals {\n  a = <<EOT\n  x\n}"),
    ("invalid heredoc", "locals {\n  a = << EOT\n}"),
    ("unterminated comment", "/* locals {}"),
    ("unclosed bracket", "locals {\n  a = [1, 2\n"),
    ("unclosed interpolation", "locals {\n  a = \"${x\"\n}"),
    ("brackets do not match", "locals {\n  a = [1, 2)\n}"),
    ("closes nothing", "locals {}\n}"),
    ("single quotes", "locals {\n  a = 'x'\n}"),
    ("typographic quotes", "locals {\n  a = “x”\n}"),
    ("semicolon", "locals { a = 1; }"),
    ("single ampersand", "locals {\n  a = true & false\n}"),
    ("control character", "locals {\n  a = \u{7}\n}"),
    ("comma in a block", "check \"x\" {\n  assert { condition = true, error_message = \"\" }\n}"),
    ("no value", "locals {\n  a =\n}"),
    ("two on a line", "locals {\n  a = 1 b = 2\n}"),
    ("attribute redefined", "locals {\n  a = 1\n  a = 2\n}"),
    ("key redefined", "locals {\n  a = { b = 1, b = 2 }\n}"),
    ("bad escape", "locals {\n  a = \"\\q\"\n}"),
    (
        "many operators",
        "locals {\n  a = 1 +1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1\n}",
    ),
    // Shapes.
    ("attribute outside", "a = 1"),
    ("unknown block", "servce \"x\" {}"),
    ("a block of Terraform", "resource \"aws_instance\" \"x\" {}"),
    ("a block for later", "guard { max_destroy = 5 }"),
    ("missing label", "service {}"),
    ("too many labels", "image \"a\" \"b\" {}"),
    ("a label too many", "locals \"a\" {}"),
    ("bad label", "image \"a b\" { source = \"x\" }"),
    ("unknown argument", "image \"y\" {\n  sourc = \"x\"\n}"),
    ("count", "SERVICE  count = 3\n}"),
    ("a block as argument", "SERVICE  resources = { gpus = 1 }\n}"),
    ("an argument as block", "SERVICE  env { A = 1 }\n}"),
    ("unknown nested block", "SERVICE  resurces { gpus = 1 }\n}"),
    ("an argument for later", "SERVICE  lifecycle { prevent_destroy = true }\n}"),
    ("names in quotes", "SERVICE  lifecycle { ignore_changes = [\"image\"] }\n}"),
    ("no list of names", "SERVICE  lifecycle { ignore_changes = image }\n}"),
    ("what cannot be ignored", "SERVICE  lifecycle { ignore_changes = [placement] }\n}"),
    ("what is not there to be ignored", "SERVICE  lifecycle { ignore_changes = [imag] }\n}"),
    (
        "one secret ignored",
        "SERVICE  env = { A = sensitive(\"x\") }\n  lifecycle { ignore_changes = [env[\"A\"]] }\n}",
    ),
    (
        "load without a model",
        "SERVICE  load { requests_per_second = 5 }\n  resources { gpus = 1 }\n}",
    ),
    (
        "load without a throughput",
        "model \"m\" {}\nSERVICE  model = model.m\n  load { requests_per_second = 5 }\n  resources { gpus = 1 }\n}",
    ),
    (
        "load and replicas",
        "model \"m\" {\n  throughput \"L4\" { requests_per_second = 4 }\n}\nSERVICE  model = model.m\n  replicas = 2\n  load { requests_per_second = 5 }\n  resources { gpus = 1 }\n}",
    ),
    (
        "load without GPUs",
        "model \"m\" {\n  throughput \"L4\" { requests_per_second = 4 }\n}\nSERVICE  model = model.m\n  load { requests_per_second = 5 }\n}",
    ),
    (
        "load said twice",
        "model \"m\" {\n  throughput \"L4\" { requests_per_second = 4 }\n}\nmonitoring {\n  prometheus { url = \"http://p\" }\n}\nSERVICE  model = model.m\n  load {\n    requests_per_second = 5\n    from_prometheus = \"q\"\n  }\n  resources { gpus = 1 }\n}",
    ),
    (
        "load without a server",
        "model \"m\" {\n  throughput \"L4\" { requests_per_second = 4 }\n}\nSERVICE  model = model.m\n  load { from_prometheus = \"q\" }\n  resources { gpus = 1 }\n}",
    ),
    (
        "no day",
        "cloud \"gcp\" {\n  reservation {\n    region = \"us-east1\"\n    instance_type = \"a\"\n    nodes = 1\n    from = \"2026-02-30\"\n  }\n}",
    ),
    (
        "days the wrong way round",
        "cloud \"gcp\" {\n  reservation {\n    region = \"us-east1\"\n    instance_type = \"a\"\n    nodes = 1\n    from = \"2026-02-03\"\n    until = \"2026-01-31\"\n  }\n}",
    ),
    ("a server with a password", "monitoring {\n  prometheus { url = \"http://me:secret@p\" }\n}"),
    ("dashboards", "monitoring { dashboards = true }"),
    (
        "load of nothing",
        "model \"m\" {\n  throughput \"L4\" { requests_per_second = 4 }\n}\nSERVICE  model = model.m\n  load {}\n  resources { gpus = 1 }\n}",
    ),
    ("an argument of the wrong type", "SERVICE  protect = \"maybe\"\n}"),
    ("together with nobody", "SERVICE  placement {\n    together_with = [service.b]\n  }\n}"),
    ("calls nobody", "SERVICE  calls \"b\" { traffic = \"1Mbps\" }\n}"),
    ("calls without traffic", "service \"b\" { image = image.x }\nSERVICE  calls \"b\" {}\n}"),
    ("calls itself", "SERVICE  calls \"a\" { traffic = \"1Mbps\" }\n}"),
    (
        "calls a repeated service",
        "service \"b\" {\n  for_each = [\"eu\"]\n  image    = image.x\n}\nSERVICE  calls \"b\" { traffic = \"1Mbps\" }\n}",
    ),
    (
        "weights in a region of no cloud",
        "model \"m\" {\n  weights {\n    source = \"x\"\n    size   = \"1GiB\"\n    region = \"us-east-1\"\n  }\n}",
    ),
    ("apart from nobody", "SERVICE  placement {\n    apart_from = [\"b\"]\n  }\n}"),
    ("apart from a cloud", "SERVICE  placement {\n    apart_from = [cloud.aws]\n  }\n}"),
    ("apart from one", "SERVICE  placement {\n    apart_from = \"b\"\n  }\n}"),
    (
        "apart and together",
        "service \"b\" { image = image.x }\nSERVICE  placement {\n    apart_from    = [service.b]\n    together_with = [service.b]\n  }\n}",
    ),
    (
        "apart from each other",
        "service \"b\" {\n  image = image.x\n  placement {\n    apart_from = [service.a]\n  }\n}\nservice \"a\" {\n  image = image.x\n  placement {\n    apart_from = [service.b]\n  }\n}",
    ),
    ("build", "image \"y\" {\n  build { context = \".\" }\n}"),
    ("evaluation", "model \"m\" {\n  evaluation { report = \"x\" }\n}"),
    ("twice", "image \"x\" { source = \"y\" }"),
    ("local twice", "locals { a = 1 }\nlocals { a = 2 }"),
    ("block twice", "SERVICE  resources { gpus = 1 }\n  resources { gpus = 2 }\n}"),
    // Names.
    ("undeclared variable", "variable \"replicas\" { default = 1 }\nlocals { a = var.replica }"),
    ("undeclared local", "locals { b = local.zzz }"),
    ("undeclared block", "SERVICE  env = { A = service.z.url }\n}"),
    ("undeclared image", "service \"a\" { image = image.y }"),
    ("no such root", "locals { a = servces.a }"),
    ("plain word", "locals { a = hello }"),
    ("a root of Terraform", "locals { a = terraform.workspace }"),
    ("count.index", "locals { a = count.index }"),
    ("no name", "locals { a = service }"),
    ("each outside", "SERVICE  env = { A = each.key }\n}"),
    ("each.values", "SERVICE  for_each = { a = 1 }\n  env = { A = each.values }\n}"),
    ("path.module", "locals { a = path.module }"),
    ("fleetform.workspace", "locals { a = fleetform.workspace }"),
    ("unsupported attribute of a block", "locals { a = image.x.sorce }"),
    (
        "instance needed",
        "SERVICE  for_each = { a = 1, b = 2 }\n  port = 80\n}\nlocals { a = service.a.url }",
    ),
    (
        "no such instance",
        "SERVICE  for_each = { a = 1, b = 2 }\n  port = 80\n}\nlocals { a = service.a[\"c\"].url }",
    ),
    ("no port", "SERVICE}\nlocals { a = service.a.url }"),
    ("cycle", "locals {\n  a = local.b\n  b = local.a\n}"),
    // Values, with the values that mattered.
    ("operand", "variable \"n\" { default = \"three\" }\nlocals { a = var.n + 1 }"),
    ("index", "variable \"n\" { default = [1, 2] }\nlocals { a = var.n[2] }"),
    ("attribute", "variable \"n\" { default = { name = 1 } }\nlocals { a = var.n.nme }"),
    ("list attribute", "variable \"n\" { default = [{ name = 1 }] }\nlocals { a = var.n.name }"),
    ("null in template", "variable \"n\" { default = null }\nlocals { a = \"a-${var.n}\" }"),
    ("list in template", "variable \"n\" { default = [1] }\nlocals { a = \"a-${var.n}\" }"),
    ("function", "locals { a = jsondecode(\"{\") }"),
    ("unknown function", "locals { a = uper(\"a\") }"),
    ("left out function", "locals { a = timestamp() }"),
    ("large number", "locals { a = 9007199254740993 }"),
    ("too few arguments", "locals { a = can() }"),
    // Variables.
    ("required variable", "variable \"n\" { type = number }"),
    ("wrong default", "variable \"n\" {\n  type = number\n  default = \"x\"\n}"),
    ("null default", "variable \"n\" {\n  default = null\n  nullable = false\n}"),
    ("wrong type", "variable \"n\" {\n  type = strng\n  default = 1\n}"),
    ("quoted type", "variable \"n\" {\n  type = \"string\"\n  default = 1\n}"),
    ("a reference in a default", "variable \"n\" {\n  default = local.a\n}"),
    ("a call in a default", "variable \"n\" {\n  default = upper(\"a\")\n}"),
    (
        "validation",
        "variable \"n\" {\n  default = 0\n  validation {\n    condition = var.n > 0\n    error_message = \"At least one, not ${var.n}.\"\n  }\n}",
    ),
    (
        "condition",
        "variable \"n\" {\n  default = 0\n  validation {\n    condition = [var.n]\n    error_message = \"x\"\n  }\n}",
    ),
    ("assertion without message", "check \"x\" {\n  assert { condition = true }\n}"),
    ("check without assertion", "check \"x\" {}"),
    (
        "message",
        "check \"x\" {\n  assert {\n    condition = false\n    error_message = [1]\n  }\n}",
    ),
    // What is recorded.
    ("moved from what is there", "SERVICE}\nmoved {\n  from = service.a\n  to = service.b\n}"),
    ("moved to another kind", "moved {\n  from = service.old\n  to = job.new\n}"),
    ("moved from nowhere", "moved {\n  to = service.b\n}"),
    ("moved in quotes", "moved {\n  from = \"service.old\"\n  to = service.b\n}"),
    ("moved by a number", "moved {\n  from = service.old[0]\n  to = service.b\n}"),
    ("moved a cloud", "moved {\n  from = cloud.old\n  to = cloud.b\n}"),
    ("moved a slip", "moved {\n  from = servce.old\n  to = service.b\n}"),
    (
        "moved in a circle",
        "moved {\n  from = service.b\n  to = service.c\n}\nmoved {\n  from = service.c\n  to = service.b\n}",
    ),
    (
        "moved twice",
        "moved {\n  from = service.b\n  to = service.c\n}\nmoved {\n  from = service.b\n  to = service.d\n}",
    ),
    (
        "moved together",
        "moved {\n  from = service.b\n  to = service.d\n}\nmoved {\n  from = service.c\n  to = service.d\n}",
    ),
    ("removed and there", "SERVICE}\nremoved {\n  from = service.a\n}"),
    ("removed with a word", "removed {\n  from = service.b\n  destroy = \"maybe\"\n}"),
    ("imported a service", "import {\n  to = service.b\n  id = \"x\"\n}"),
    ("imported nothing", "import {\n  to = aws_eks_cluster.main\n}"),
    // Settings.
    ("version", "fleetform { required_version = \">= 99\" }"),
    ("no version", "fleetform { required_version = \"new\" }"),
    ("no bucket", "fleetform {\n  state \"s3\" { region = \"x\" }\n}"),
    ("store argument", "fleetform {\n  state \"http\" { adress = \"x\" }\n}"),
    (
        "no store argument",
        "fleetform {\n  state \"gcs\" {\n    bucket = \"x\"\n    lease = 1\n  }\n}",
    ),
    ("password", "fleetform {\n  state \"http\" { password = \"x\" }\n}"),
    (
        "prefix and key",
        "fleetform {\n  state \"s3\" {\n    bucket = \"x\"\n    key = \"a\"\n    prefix = \"b\"\n  }\n}",
    ),
    ("no flag", "fleetform {\n  state \"postgres\" { create_table = \"maybe\" }\n}"),
    ("no state store", "fleetform {\n  state \"floppy\" {}\n}"),
    ("near state store", "fleetform {\n  state \"postgre\" {}\n}"),
    ("no key", "fleetform {\n  encryption {}\n}"),
    (
        "two keys",
        "fleetform {\n  encryption {\n    passphrase_env = \"X\"\n    key_file = \"x\"\n  }\n}",
    ),
    ("key argument", "fleetform {\n  encryption { passphrase = \"X\" }\n}"),
    (
        "previous without key",
        "fleetform {\n  encryption {\n    key_file = \"x\"\n    previous {}\n  }\n}",
    ),
    ("state argument", "fleetform {\n  state \"local\" { pth = \"x\" }\n}"),
    ("goal", "optimize { minimize = \"carbon\" }"),
    ("weights", "optimize { weights = 1 }"),
    ("an unknown weight", "optimize { weights = { cost = 1, speed = 2 } }"),
    ("a weight below nothing", "optimize { weights = { cost = 1, carbon = -1 } }"),
    ("weights without the cost", "optimize { weights = { carbon = 1 } }"),
    ("negative budget", "optimize { budget = -1 }"),
    // Clouds.
    ("kind", "cloud \"a\" { kind = \"gpc\" }"),
    ("no kind", "cloud \"main\" {}"),
    ("quota without a number", "cloud \"gcp\" {\n  quota { region = \"us-central1\" }\n}"),
    (
        "quota of another region",
        "cloud \"gcp\" {\n  regions = [\"us-central1\"]\n  quota {\n    region = \"us-centrall\"\n    max_gpus = 1\n  }\n}",
    ),
    ("discount in percent", "cloud \"gcp\" { discount = 12 }"),
    ("no regions", "cloud \"gcp\" { regions = [] }"),
    ("a region twice", "cloud \"gcp\" { regions = [\"a\", \"a\"] }"),
    ("endpoint", "cloud \"gcp\" {\n  endpoints { container = \"localhost:80\" }\n}"),
    ("no nodes", "cloud \"edge\" { kind = \"kubernetes\" }"),
    (
        "nodes of a rented cloud",
        "cloud \"gcp\" {\n  node \"a\" {\n    count = 1\n    cpus = 1\n    memory = 1\n  }\n}",
    ),
    (
        "node without a GPU type",
        "cloud \"edge\" {\n  kind = \"kubernetes\"\n  node \"a\" {\n    count = 1\n    cpus = 1\n    memory = 1\n    gpus = 1\n    gpu_memory = 24\n  }\n}",
    ),
    ("location", "cloud \"gcp\" { location = { latitude = 91, longitude = 0 } }"),
    ("image reference", "image \"y\" { source = \"https://ghcr.io/x\" }"),
    ("image without a source", "image \"y\" {}"),
    (
        "not copied",
        "registry \"r\" { clouds = [cloud.aws] }\nimage \"y\" {\n  source = \"x:1\"\n  registry = registry.r\n}",
    ),
    (
        "hash",
        "model \"m\" {\n  weights {\n    source = \"s3://x\"\n    size = 1\n    sha256 = \"abc\"\n  }\n}",
    ),
    // Workloads.
    ("no image", "service \"a\" {}"),
    ("wrong kind of reference", "service \"a\" { image = cloud.aws }"),
    ("text as reference", "service \"a\" { image = \"y\" }"),
    ("fractional replicas", "SERVICE  replicas = 1.5\n}"),
    ("negative replicas", "SERVICE  replicas = -1\n}"),
    ("replicas in words", "SERVICE  replicas = \"three\"\n}"),
    ("name", "service \"Chat_Bot\" { image = image.x }"),
    (
        "names collide",
        "service \"a-b\" { image = image.x }\nservice \"a\" {\n  for_each = [\"b\"]\n  image = image.x\n}",
    ),
    ("for_each over a number", "SERVICE  for_each = 3\n}"),
    (
        "for_each over secrets",
        "variable \"s\" {\n  default = [\"a\"]\n  sensitive = true\n}\nSERVICE  for_each = var.s\n}",
    ),
    ("for_each over numbers", "SERVICE  for_each = [1]\n}"),
    ("for_each twice the same", "SERVICE  for_each = [\"a\", \"a\"]\n}"),
    (
        "for_each known later",
        "registry \"r\" { clouds = [cloud.aws] }\nSERVICE  for_each = registry.r.urls\n}",
    ),
    (
        "known later",
        "registry \"r\" { clouds = [cloud.aws] }\nSERVICE  port = registry.r.urls.x\n}",
    ),
    (
        "sensitive",
        "variable \"s\" {\n  default = 1\n  sensitive = true\n}\nSERVICE  replicas = var.s\n}",
    ),
    (
        "sensitive output",
        "variable \"s\" {\n  default = 1\n  sensitive = true\n}\noutput \"s\" { value = var.s }",
    ),
    ("output without a value", "output \"s\" {}"),
    ("env", "SERVICE  env = [1]\n}"),
    ("env value", "SERVICE  env = { A = [1] }\n}"),
    ("env name", "SERVICE  env = { \"1 A\" = 1 }\n}"),
    (
        "env twice",
        "SERVICE  env = { A = 1 }\n  secret_env \"A\" {\n    secret = \"s\"\n    key = \"k\"\n  }\n}",
    ),
    ("secret without a key", "SERVICE  secret_env \"A\" { secret = \"s\" }\n}"),
    ("unit", "SERVICE  resources { memory = \"24Gb\" }\n}"),
    ("no unit that fits", "SERVICE  resources { network = \"50GiB\" }\n}"),
    ("no quantity", "SERVICE  resources { storage = \"lots\" }\n}"),
    ("GPU types without GPUs", "SERVICE  resources { gpu_types = [\"L4\"] }\n}"),
    ("no GPU types", "SERVICE  resources {\n    gpus = 1\n    gpu_types = []\n  }\n}"),
    ("autoscale bounds", "SERVICE  autoscale {\n    min = 5\n    max = 2\n  }\n}"),
    (
        "autoscale and replicas",
        "SERVICE  replicas = 9\n  autoscale {\n    min = 1\n    max = 2\n  }\n}",
    ),
    ("health without a port", "SERVICE  health { path = \"/\" }\n}"),
    ("health path", "SERVICE  port = 80\n  health { path = \"ok\" }\n}"),
    ("port", "SERVICE  port = 70000\n}"),
    ("market", "SERVICE  placement { markets = [\"ondemand\"] }\n}"),
    ("spot rules", "SERVICE  placement {\n    spot { max_share = 0.5 }\n  }\n}"),
    ("region pattern", "SERVICE  placement { regions = [\"\"] }\n}"),
    ("no such region", "SERVICE  placement { regions = [\"eu-*\"] }\n}"),
    ("no clouds", "SERVICE  placement { clouds = [] }\n}"),
    ("one cloud", "SERVICE  placement { clouds = cloud.aws }\n}"),
    ("a cloud twice", "SERVICE  placement { clouds = [cloud.aws, cloud.aws] }\n}"),
    (
        "spread over",
        "SERVICE  placement {\n    spread {\n      over = \"regions\"\n      min = 1\n    }\n  }\n}",
    ),
    (
        "spread too far",
        "SERVICE  placement {\n    spread {\n      over = \"cloud\"\n      min = 2\n    }\n  }\n}",
    ),
    ("spread of nothing", "SERVICE  placement {\n    spread { over = \"cloud\" }\n  }\n}"),
    (
        "spread twice",
        "SERVICE  replicas = 2\n  placement {\n    spread {\n      over = \"cloud\"\n      min = 1\n    }\n    spread {\n      over = \"cloud\"\n      min = 2\n    }\n  }\n}",
    ),
    (
        "split and spread",
        "SERVICE  replicas = 2\n  placement {\n    split = false\n    spread {\n      over = \"cloud\"\n      min = 2\n    }\n  }\n}",
    ),
    ("residency", "SERVICE  placement { residency = [\"Germany\"] }\n}"),
    ("residency nowhere", "SERVICE  placement { residency = [] }\n}"),
    (
        "latency of nothing",
        "SERVICE  placement {\n    latency { from = { latitude = 91, longitude = 0 } }\n  }\n}",
    ),
    ("bool", "SERVICE  placement { split = \"no\" }\n}"),
    (
        "schedule",
        "job \"j\" {\n  image = image.x\n  duration = \"6h\"\n  schedule = \"0 25 * * *\"\n}",
    ),
    ("no duration", "job \"j\" { image = image.x }"),
];

#[test]
fn every_mistake_has_its_words() {
    let mut book = String::new();
    for (title, text) in MISTAKES {
        let text = text.replace("SERVICE", "service \"a\" {\n  image = image.x\n");
        let result = stack(&[("base.hcl", BASE), ("main.hcl", &text)]);
        let (sources, diagnostics) = match result {
            Ok(stack) => (stack.sources, stack.warnings),
            Err(failure) => (failure.sources, failure.diagnostics),
        };
        assert!(!diagnostics.is_empty(), "{title}: nothing was said about\n{text}");
        let _ = writeln!(book, "# {title}");
        for diagnostic in &diagnostics {
            let _ = write!(
                book,
                "{:?}: {}\n  {}\n",
                diagnostic.severity, diagnostic.summary, diagnostic.detail
            );
            if let Some(span) = &diagnostic.span {
                let source = &sources.files[&span.file];
                let (line, column) = position(source, span.start);
                let marked = source.get(span.start..span.end).unwrap_or_default();
                let _ = writeln!(book, "  at {}:{line}:{column} {marked:?}", span.file);
            }
            for (name, value) in &diagnostic.values {
                let _ = writeln!(book, "  {name} {value}");
            }
            if let Some(hint) = &diagnostic.hint {
                let _ = writeln!(book, "  hint: {hint}");
            }
        }
        book.push('\n');
    }
    insta::assert_snapshot!("mistakes", book);
}
