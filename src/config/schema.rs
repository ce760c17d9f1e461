//! What may stand in which block.

/// A kind of block.
pub(super) struct Schema {
    pub attributes: &'static [&'static str],
    pub blocks: &'static [Nested],
    /// Known to the language and not built yet: refused by name.
    pub later: &'static [&'static str],
    /// Whether any attribute goes.
    pub free: bool,
}

/// A kind of block inside another.
pub(super) struct Nested {
    pub name: &'static str,
    /// Labels it takes: none or one.
    pub labelled: bool,
    pub repeatable: bool,
    pub schema: &'static Schema,
}

/// A kind of block at the top.
pub(super) struct Top {
    pub name: &'static str,
    pub labelled: bool,
    /// Whether expressions refer to it by type and label.
    pub referable: bool,
    /// Whether it may stand several times, without a label to tell them apart.
    pub repeatable: bool,
    pub schema: &'static Schema,
}

const fn leaf(attributes: &'static [&'static str]) -> Schema {
    Schema { attributes, blocks: &[], later: &[], free: false }
}

const fn once(name: &'static str, schema: &'static Schema) -> Nested {
    Nested { name, labelled: false, repeatable: false, schema }
}

const fn many(name: &'static str, schema: &'static Schema) -> Nested {
    Nested { name, labelled: false, repeatable: true, schema }
}

const fn named(name: &'static str, schema: &'static Schema) -> Nested {
    Nested { name, labelled: true, repeatable: true, schema }
}

const fn one(name: &'static str, schema: &'static Schema) -> Top {
    Top { name, labelled: false, referable: false, repeatable: false, schema }
}

const fn referable(name: &'static str, schema: &'static Schema) -> Top {
    Top { labelled: true, referable: true, ..one(name, schema) }
}

pub(super) static TOP: &[Top] = &[
    one("fleetform", &FLEETFORM),
    Top { labelled: true, ..one("variable", &VARIABLE) },
    Top { repeatable: true, ..one("locals", &FREE) },
    Top { labelled: true, ..one("output", &OUTPUT) },
    Top { labelled: true, ..one("check", &CHECK) },
    referable("cloud", &CLOUD),
    referable("registry", &REGISTRY),
    referable("image", &IMAGE),
    referable("model", &MODEL),
    referable("service", &SERVICE),
    referable("job", &JOB),
    one("monitoring", &MONITORING),
    one("optimize", &OPTIMIZE),
    Top { repeatable: true, ..one("moved", &MOVED) },
    Top { repeatable: true, ..one("removed", &REMOVED) },
    Top { repeatable: true, ..one("import", &IMPORT) },
];

/// Blocks of the language that are not built yet.
pub(super) const LATER: [&str; 2] = ["guard", "policy"];

/// Blocks that Terraform users will try, and what to do instead.
pub(super) const TERRAFORM: [(&str, &str); 6] = [
    ("terraform", "settings of the stack are in a `fleetform` block"),
    ("provider", "an account is a `cloud` block"),
    ("resource", "Fleetform makes resources from `service`, `job` and `registry` blocks"),
    ("data", "values come in through variables"),
    ("module", "a stack is one directory; repeat a service with `for_each`"),
    ("backend", "where the state is kept is said by `state` in a `fleetform` block"),
];

static FREE: Schema = Schema { attributes: &[], blocks: &[], later: &[], free: true };

static FLEETFORM: Schema = Schema {
    attributes: &["required_version"],
    blocks: &[
        Nested { name: "state", labelled: true, repeatable: false, schema: &FREE },
        once("encryption", &ENCRYPTION),
    ],
    later: &[],
    free: false,
};

static ENCRYPTION: Schema = Schema {
    attributes: &["key_file", "passphrase_env"],
    blocks: &[many("previous", &KEY)],
    later: &[],
    free: false,
};

static KEY: Schema = leaf(&["key_file", "passphrase_env"]);

static VARIABLE: Schema = Schema {
    attributes: &["default", "description", "nullable", "sensitive", "type"],
    blocks: &[many("validation", &ASSERTION)],
    later: &["ephemeral", "deprecated"],
    free: false,
};

static ASSERTION: Schema = leaf(&["condition", "error_message"]);

static OUTPUT: Schema = Schema {
    attributes: &["description", "sensitive", "value"],
    blocks: &[],
    later: &["precondition", "ephemeral", "depends_on"],
    free: false,
};

static CHECK: Schema = Schema {
    attributes: &[],
    blocks: &[many("assert", &ASSERTION)],
    later: &["data"],
    free: false,
};

static CLOUD: Schema = Schema {
    attributes: &[
        "account_id",
        "context",
        "discount",
        "kind",
        "kubeconfig",
        "location",
        "profile",
        "project",
        "regions",
        "resource_group",
        "subscription_id",
    ],
    blocks: &[
        once("cluster", &CLUSTER),
        once("endpoints", &FREE),
        many("quota", &QUOTA),
        once("capacity", &CAPACITY),
        once("rate_card", &RATE_CARD),
        many("reservation", &RESERVATION),
        named("node", &NODE),
    ],
    later: &[],
    free: false,
};

static CLUSTER: Schema =
    leaf(&["cluster_role_arn", "name", "node_role_arn", "subnet_ids", "version"]);
static QUOTA: Schema = leaf(&["gpu_type", "max_gpus", "region"]);
static CAPACITY: Schema = leaf(&["cpus", "gpus", "nodes"]);
static RATE_CARD: Schema =
    leaf(&["cpu_month", "gpu_month", "memory_gib_month", "network_mbps_month", "storage_tb_month"]);
static RESERVATION: Schema =
    leaf(&["from", "id", "instance_type", "nodes", "region", "until", "zone"]);
static NODE: Schema =
    leaf(&["count", "cpus", "gpu_memory", "gpu_type", "gpus", "memory", "price_hour"]);

static REGISTRY: Schema = leaf(&["clouds", "immutable_tags", "keep_images", "scan_on_push"]);

static IMAGE: Schema =
    Schema { attributes: &["registry", "source"], blocks: &[], later: &["build"], free: false };

static MODEL: Schema = Schema {
    attributes: &[],
    blocks: &[once("weights", &WEIGHTS), named("throughput", &THROUGHPUT)],
    later: &["evaluation"],
    free: false,
};

static WEIGHTS: Schema = leaf(&["cloud", "region", "sha256", "size", "source"]);
static THROUGHPUT: Schema = leaf(&["latency_p95", "requests_per_second"]);

static SERVICE: Schema = Schema {
    attributes: &["command", "env", "for_each", "image", "model", "port", "protect", "replicas"],
    blocks: &[
        named("secret_env", &SECRET_ENV),
        once("resources", &RESOURCES),
        once("placement", &PLACEMENT),
        once("autoscale", &AUTOSCALE),
        once("load", &LOAD),
        once("health", &HEALTH),
        once("lifecycle", &LIFECYCLE),
        named("calls", &CALLS),
    ],
    later: &[],
    free: false,
};

static JOB: Schema = Schema {
    attributes: &[
        "command", "duration", "env", "for_each", "image", "model", "nodes", "protect", "retries",
        "schedule",
    ],
    blocks: &[
        named("secret_env", &SECRET_ENV),
        once("resources", &RESOURCES),
        once("placement", &PLACEMENT),
        once("lifecycle", &LIFECYCLE),
        named("calls", &CALLS),
    ],
    later: &[],
    free: false,
};

static LIFECYCLE: Schema = Schema {
    attributes: &["ignore_changes"],
    blocks: &[],
    later: &[
        "create_before_destroy",
        "postcondition",
        "precondition",
        "prevent_destroy",
        "replace_triggered_by",
    ],
    free: false,
};

static CALLS: Schema = leaf(&["traffic"]);
static SECRET_ENV: Schema = leaf(&["key", "secret"]);
static RESOURCES: Schema =
    leaf(&["cpus", "gpu_memory", "gpu_types", "gpus", "memory", "network", "storage"]);
static AUTOSCALE: Schema = leaf(&["max", "min", "target_cpu"]);
static LOAD: Schema = leaf(&["from_prometheus", "requests_per_second"]);
static HEALTH: Schema = leaf(&["initial_delay", "path", "port"]);

static PLACEMENT: Schema = Schema {
    attributes: &[
        "apart_from",
        "clouds",
        "markets",
        "regions",
        "residency",
        "split",
        "together_with",
    ],
    blocks: &[once("latency", &LATENCY), once("spot", &SPOT), many("spread", &SPREAD)],
    later: &[],
    free: false,
};

static LATENCY: Schema = leaf(&["from", "max"]);
static SPOT: Schema = leaf(&["base_on_demand", "max_share"]);
static SPREAD: Schema = leaf(&["max_share", "min", "over"]);

static MONITORING: Schema = Schema {
    attributes: &[],
    blocks: &[once("prometheus", &PROMETHEUS)],
    later: &["dashboards"],
    free: false,
};

static PROMETHEUS: Schema = leaf(&["url"]);

static OPTIMIZE: Schema = Schema {
    attributes: &["budget", "minimize", "move_penalty", "weights"],
    blocks: &[],
    later: &[],
    free: false,
};

static MOVED: Schema = leaf(&["from", "to"]);
static REMOVED: Schema = leaf(&["destroy", "from"]);
static IMPORT: Schema = leaf(&["id", "lineage", "to"]);

/// The attributes of blocks at the top that are addresses: names of what is recorded, which need not
/// be declared, and not expressions.
pub(super) fn is_address(kind: &str, attribute: &str) -> bool {
    matches!((kind, attribute), ("moved", "from" | "to") | ("removed", "from") | ("import", "to"))
}

/// Attributes whose expressions are names of other attributes, and stand for themselves.
pub(super) fn is_names(attribute: &str) -> bool {
    attribute == "ignore_changes"
}

impl Schema {
    pub(super) fn block(&self, name: &str) -> Option<&'static Nested> {
        self.blocks.iter().find(|nested| nested.name == name)
    }

    pub(super) fn has_attribute(&self, name: &str) -> bool {
        self.free || self.attributes.contains(&name)
    }

    /// Every name that may be written here.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.attributes.iter().copied().chain(self.blocks.iter().map(|nested| nested.name))
    }
}

pub(super) fn top(name: &str) -> Option<&'static Top> {
    TOP.iter().find(|top| top.name == name)
}

/// What Fleetform adds to a block's attributes.
pub(super) fn computed(kind: &str) -> &'static [&'static str] {
    match kind {
        "service" => &["address", "name", "namespace", "url"],
        "job" => &["address", "name", "namespace"],
        "image" => &["address", "digest", "name", "url"],
        "registry" => &["address", "name", "urls"],
        "cloud" => &["address", "clusters", "name"],
        _ => &["address", "name"],
    }
}
