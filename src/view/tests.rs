//! What people and programs see of every kind of change.

use std::collections::BTreeMap;

use fleetform_contract::{Attributes, Market, Offering, Record, Resource, Secret, Value};
use serde_json::{Value as Json, json};

use super::{Paint, change, events, graph, json as layout, plan as text, table};
use crate::placement::{Cost, Placement, Proof, Rental, Seats};
use crate::plan::{
    Action, Change, CheckResult, CheckStatus, Drift, Inputs, Operation, OutputChange, Phase, Plan,
    Reason,
};

/// JSON with two signs of our own: `"?"` is unknown, `"***x"` a secret whose digest is `x`.
fn value(json: &Json) -> Value {
    Value::from_plain_json(json).map_leaves(&mut |leaf| match leaf.as_str() {
        Some("?") => Value::unknown("aws_eks_cluster.main", "arn"),
        Some(text) if text.starts_with("***") => {
            Value::Secret(Secret { reference: "var.token".into(), digest: text.into() })
        }
        _ => leaf.clone(),
    })
}

fn attributes(json: &Json) -> Attributes {
    let Value::Map(map) = value(json) else { panic!("{json} is no object") };
    map
}

const ADDRESS: &str = "aws_eks_node_group.main[\"us-east-1/g5.xlarge\"]";

fn record(json: &Json) -> Record {
    Record {
        address: ADDRESS.parse().expect("an address"),
        cloud: "aws".into(),
        site: None,
        id: "pool-1".into(),
        attributes: attributes(json),
        depends_on: vec!["aws_eks_cluster.main[\"us-east-1\"]".parse().expect("an address")],
        version: 3,
        tainted: false,
    }
}

fn changed(action: Action, before: Json, after: Json) -> Change {
    let address: fleetform_contract::Address = ADDRESS.parse().expect("an address");
    let desired = Resource {
        address: address.clone(),
        cloud: "aws".into(),
        site: None,
        attributes: Attributes::new(),
        depends_on: Vec::new(),
    };
    Change {
        action,
        before: (!before.is_null()).then(|| record(&before)),
        desired: (!after.is_null()).then_some(desired),
        after: (!after.is_null()).then(|| attributes(&after)),
        ..Change::nothing(address)
    }
}

fn shown(action: Action, before: Json, after: Json) -> String {
    change::change(&changed(action, before, after), Paint::Plain)
}

fn plan(changes: Vec<Change>) -> Plan {
    Plan {
        format: 1,
        fleetform_version: "0.1.0".into(),
        stack: "chat".into(),
        lineage: "l".into(),
        serial: 7,
        operation: Operation::Apply,
        changes,
        drift: Vec::new(),
        outputs: BTreeMap::new(),
        checks: Vec::new(),
        placement: None,
        scope: crate::plan::Scope::Whole,
        protection: crate::plan::Protection::new(),
        goes_back_to: None,
        cost_before_month: None,
        inputs: Inputs::default(),
        created: "2026-01-01T00:00:00Z".into(),
    }
}

fn offering(region: &str, instance_type: &str) -> Offering {
    Offering {
        cloud: "aws".into(),
        region: region.into(),
        instance_type: instance_type.into(),
        market: Market::OnDemand,
        zones: Vec::new(),
        zone: None,
        max_pods: None,
        gpu_type: None,
        gpus: 0,
        gpu_memory_gib: 0.0,
        cpus: 4.0,
        memory_gib: 16.0,
        architecture: "x86_64".into(),
        price_hour: 1.0,
        max_nodes: None,
        location: None,
        as_of: "2026-01-01".into(),
    }
}

/// Two nodes: `chat` on both, `embed` beside it on one.
fn placement() -> Placement {
    let offering = offering("us-east-1", "m7i.xlarge");
    let seats = |workload: &str, replicas, cost_month| Seats {
        workload: workload.into(),
        offering: offering.id(),
        replicas,
        cost_month,
    };
    let node = |pairs: &[(&str, u32)]| pairs.iter().map(|(w, n)| ((*w).to_owned(), *n)).collect();
    let rental = Rental {
        nodes: vec![node(&[("chat", 1), ("embed", 2)]), node(&[("chat", 1)])],
        price_hour: 1.0,
        reserved_nodes: 0,
        offering: offering.clone(),
    };
    Placement {
        seats: vec![seats("chat", 2, 1_095.0), seats("embed", 2, 365.0)],
        rentals: BTreeMap::from([(offering.id(), rental)]),
        loads: BTreeMap::new(),
        cost: Cost {
            total_month: 1_533.0,
            nodes_month: 1_460.0,
            sites_month: BTreeMap::from([("aws/us-east-1".to_owned(), 73.0)]),
            ..Cost::default()
        },
        traffic: Vec::new(),
        weighed: None,
        proof: Proof {
            objective_month: 1_533.0,
            moves_month: 0.0,
            bound_month: 1_533.0,
            gap: 0.0,
            solver: "HiGHS 1".into(),
            packing_cuts: 0,
        },
    }
}

#[test]
fn a_creation_shows_everything() {
    insta::assert_snapshot!(shown(Action::Create, Json::Null, json!({
        "arn": "?", "count": 2, "gone": null, "labels": { "fleetform.dev/pool": "a", "x": "y" },
        "none": [], "script": "#!/bin/sh\necho ${HOME}\n", "spot": false, "taint": [{ "key": "gpu" }],
        "text": "a \"b\" ${c}", "token": "***1", "zones": ["a", "b"],
    })), @r###"
# aws_eks_node_group.main["us-east-1/g5.xlarge"] will be created
+ resource "aws_eks_node_group" "main" {
    + arn    = (known after apply)
    + count  = 2
    + labels = {
        + "fleetform.dev/pool" = "a"
        + x                    = "y"
      }
    + none   = []
    + script = <<-EOT
          #!/bin/sh
          echo ${HOME}
      EOT
    + spot   = false
    + taint  = [
        + {
            + key = "gpu"
          },
      ]
    + text   = "a \"b\" $${c}"
    + token  = (sensitive value)
    + zones  = [
        + "a",
        + "b",
      ]
  }
"###);
}

#[test]
fn an_update_shows_what_differs_and_counts_the_rest() {
    insta::assert_snapshot!(shown(
        Action::Update,
        json!({
            "id": "pool-1", "a": 1, "b": 2, "labels": { "keep": "k", "old": "o", "x": "1" }, "size": 1,
            "gone": "g", "taint": [{ "key": "gpu", "effect": "NO" }, { "key": "spot" }],
            "zones": ["a", "b", "c"], "token": "***1", "same_token": "***2",
        }),
        json!({
            "id": "pool-1", "a": 1, "b": 2, "labels": { "keep": "k", "new": "n", "x": "2" }, "size": 3,
            "gone": null, "taint": [{ "key": "gpu", "effect": "YES" }, { "key": "spot" }],
            "zones": ["b", "c", "d"], "token": "***9", "same_token": "***2", "made": "?",
        }),
    ), @r###"
# aws_eks_node_group.main["us-east-1/g5.xlarge"] will be updated in-place
~ resource "aws_eks_node_group" "main" {
    - gone   = "g" -> null
      id     = "pool-1"
    ~ labels = {
        + new = "n"
        - old = "o" -> null
        ~ x   = "1" -> "2"
          # (1 unchanged attribute hidden)
      }
    + made   = (known after apply)
    ~ size   = 1 -> 3
    ~ taint  = [
        ~ {
            ~ effect = "NO" -> "YES"
              # (1 unchanged attribute hidden)
          },
          # (1 unchanged element hidden)
      ]
    ~ token  = (sensitive value)
    ~ zones  = [
        - "a",
        + "d",
          # (2 unchanged elements hidden)
      ]
      # (3 unchanged attributes hidden)
  }
"###);
}

#[test]
fn lines_of_a_long_text_are_compared() {
    insta::assert_snapshot!(shown(
        Action::Update,
        json!({ "script": "#!/bin/sh\necho 1\necho 2\n" }),
        json!({ "script": "#!/bin/sh\necho 1\necho 3\n" }),
    ), @r###"
# aws_eks_node_group.main["us-east-1/g5.xlarge"] will be updated in-place
~ resource "aws_eks_node_group" "main" {
    ~ script = <<-EOT
          #!/bin/sh
          echo 1
        - echo 2
        + echo 3
      EOT
  }
"###);
}

#[test]
fn json_in_a_string_is_compared_as_values() {
    let policy = |count: u32| json!({ "rules": [{ "count": count, "type": "x" }] }).to_string();
    let both = format!(
        "{}{}",
        shown(Action::Create, Json::Null, json!({ "policy": policy(1) })),
        shown(
            Action::Update,
            json!({ "policy": policy(1), "text": "{no json}" }),
            json!({ "policy": policy(2), "text": "{none}" }),
        )
    );
    insta::assert_snapshot!(both, @r###"
# aws_eks_node_group.main["us-east-1/g5.xlarge"] will be created
+ resource "aws_eks_node_group" "main" {
    + policy = jsonencode(
          {
            + rules = [
                + {
                    + count = 1
                    + type  = "x"
                  },
              ]
          }
      )
  }
# aws_eks_node_group.main["us-east-1/g5.xlarge"] will be updated in-place
~ resource "aws_eks_node_group" "main" {
    ~ policy = jsonencode(
        ~ {
            ~ rules = [
                ~ {
                    ~ count = 1 -> 2
                      # (1 unchanged attribute hidden)
                  },
              ]
          }
      )
    ~ text   = "{no json}" -> "{none}"
  }
"###);
}

#[test]
fn a_replacement_says_what_forces_it() {
    let mut replaced = changed(
        Action::Replace,
        json!({ "arn": "arn:1", "name": "p", "disk": { "size": 1, "kind": "x" }, "type": "a" }),
        json!({ "arn": "?", "name": "p", "disk": { "size": 2, "kind": "x" }, "type": "b" }),
    );
    replaced.reason = Some(Reason::ReplaceBecauseCannotUpdate);
    replaced.replace_paths = vec![vec!["type".into()], vec!["disk".into(), "size".into()]];
    insta::assert_snapshot!(change::change(&replaced, Paint::Plain), @r###"
  # aws_eks_node_group.main["us-east-1/g5.xlarge"] must be replaced
-/+ resource "aws_eks_node_group" "main" {
      ~ arn  = "arn:1" -> (known after apply)
      ~ disk = {
          ~ size = 1 -> 2 # forces replacement
            # (1 unchanged attribute hidden)
        }
        name = "p"
      ~ type = "a" -> "b" # forces replacement
    }
"###);
}

#[test]
fn a_deletion_shows_what_goes() {
    let mut gone = changed(
        Action::Delete,
        json!({ "id": "pool-1", "zones": ["a"], "x": { "y": 1 } }),
        Json::Null,
    );
    gone.reason = Some(Reason::DeleteBecauseNoResourceConfig);
    insta::assert_snapshot!(change::change(&gone, Paint::Plain), @r###"
# aws_eks_node_group.main["us-east-1/g5.xlarge"] will be destroyed
# (because nothing in the stack asks for it any more)
- resource "aws_eks_node_group" "main" {
    - id    = "pool-1" -> null
    - x     = {
        - y = 1
      } -> null
    - zones = [
        - "a",
      ] -> null
  }
"###);
}

#[test]
fn headings_are_terraforms() {
    use Action::{Create, Delete, NoOp, Replace, Update};
    for (action, reason, expected) in [
        (NoOp, None, "is up-to-date"),
        (Create, None, "will be created"),
        (Update, None, "will be updated in-place"),
        (Delete, None, "will be destroyed"),
        (Replace, Some(Reason::ReplaceBecauseCannotUpdate), "must be replaced"),
        (Replace, Some(Reason::ReplaceByRequest), "will be replaced, as requested"),
        (Replace, Some(Reason::ReplaceBecauseTainted), "is tainted, so must be replaced"),
        (
            Replace,
            Some(Reason::ReplaceByTriggers),
            "will be replaced due to changes in what it lives in",
        ),
    ] {
        let one = Change { reason, ..changed(action, json!({}), json!({})) };
        assert_eq!(change::heading(&one), format!("{ADDRESS} {expected}"));
    }
}

#[test]
fn colour_adds_nothing_but_colour() {
    let one = changed(Action::Update, json!({ "a": 1, "b": ["x"] }), json!({ "a": 2, "b": ["y"] }));
    let coloured = change::change(&one, Paint::Colour);
    let stripped = console::strip_ansi_codes(&coloured);
    assert_eq!(stripped, change::change(&one, Paint::Plain));
    assert_ne!(stripped, coloured);
}

#[test]
fn a_plan_opens_with_the_placement_and_ends_with_the_cost() {
    let mut plan = plan(vec![
        changed(Action::Update, json!({ "size": 1 }), json!({ "size": 2 })),
        Change {
            address: "aws_eks_cluster.main".parse().expect("an address"),
            ..changed(Action::NoOp, json!({ "x": 1 }), json!({ "x": 1 }))
        },
    ]);
    plan.placement = Some(placement());
    plan.cost_before_month = Some(1_000.0);
    plan.outputs = BTreeMap::from([
        ("keys".to_owned(), output(Some(json!({ "a": 1 })), Some(json!({ "a": 1, "b": "?" })))),
        ("list".to_owned(), output(Some(json!(["a", "b"])), Some(json!(["a", "c"])))),
        ("new".to_owned(), output(None, Some(json!({ "x": [1] })))),
        ("old".to_owned(), output(Some(json!({ "x": 1 })), None)),
        ("same".to_owned(), output(Some(json!("s")), Some(json!("s")))),
        (
            "token".to_owned(),
            OutputChange { sensitive: true, ..output(Some(json!("1")), Some(json!("2"))) },
        ),
    ]);
    plan.checks = vec![CheckResult {
        name: "budget".into(),
        status: CheckStatus::Fail,
        problems: vec!["Too dear.".into()],
    }];
    insta::assert_snapshot!(text::plan(&plan, Paint::Plain, 100), @r###"
Placement

  service          replicas  cloud/region   nodes × type    market      $/month
  chat                    2  aws/us-east-1  2 × m7i.xlarge  on_demand  1,095.00
  embed                   2  aws/us-east-1  1 × m7i.xlarge  on_demand    365.00
  (control plane)            aws/us-east-1                                73.00
  total                   4                                            1,533.00

  A node that holds several services counts in the row of each, and is paid once.

  Objective $1,533.00 a month, bound $1,533.00, gap 0.00 % (HiGHS 1).

Fleetform used the selected clouds to generate the following execution plan.
Resource actions are indicated with the following symbols:
  ~ update in-place

Fleetform will perform the following actions:

  # aws_eks_node_group.main["us-east-1/g5.xlarge"] will be updated in-place
  ~ resource "aws_eks_node_group" "main" {
      ~ size = 1 -> 2
    }

Plan: 0 to add, 1 to change, 0 to destroy.

Changes to Outputs:
  ~ keys  = {
      + b = (known after apply)
        # (1 unchanged attribute hidden)
    }
  ~ list  = [
      - "b",
      + "c",
        # (1 unchanged element hidden)
    ]
  + new   = {
      + x = [
          + 1,
        ]
    }
  - old   = {
      - x = 1
    } -> null
  ~ token = (sensitive value)

Cost: $1,000.00 → $1,533.00 a month (+$533.00).

Warning: Check block assertion failed

  in check "budget"

Too dear.
"###);
}

#[test]
fn a_narrow_table_takes_two_lines_a_row() {
    insta::assert_snapshot!(text::placement(&placement(), Paint::Plain, 60), @r###"
Placement

  service          replicas   $/month
  chat                    2  1,095.00
    aws/us-east-1, 2 × m7i.xlarge, on_demand
  embed                   2    365.00
    aws/us-east-1, 1 × m7i.xlarge, on_demand
  (control plane)               73.00
    aws/us-east-1
  total                   4  1,533.00

  A node that holds several services counts in the row of each, and is paid once.

  Objective $1,533.00 a month, bound $1,533.00, gap 0.00 % (HiGHS 1).
"###);
}

fn output(before: Option<Json>, after: Option<Json>) -> OutputChange {
    OutputChange {
        before: before.as_ref().map(value),
        after: after.as_ref().map(value),
        sensitive: false,
    }
}

#[test]
fn nothing_to_do_is_said_in_a_line() {
    let mut nothing = plan(Vec::new());
    let said = text::plan(&nothing, Paint::Plain, 100);
    assert!(
        said.starts_with("No changes. Your infrastructure matches the configuration.\n"),
        "{said}"
    );
    nothing.operation = Operation::Destroy;
    let said = text::plan(&nothing, Paint::Plain, 100);
    assert!(said.starts_with("No changes. No objects need to be destroyed.\n"), "{said}");
}

#[test]
fn outputs_alone_change_no_infrastructure() {
    let mut plan = plan(Vec::new());
    plan.outputs = BTreeMap::from([("url".to_owned(), output(None, Some(json!("http://x"))))]);
    insta::assert_snapshot!(text::plan(&plan, Paint::Plain, 100), @r###"
Changes to Outputs:
  + url = "http://x"

You can apply this plan to save these new output values to the state, without
changing any real infrastructure.
"###);
}

fn drift(paths: usize) -> Drift {
    let side = |from: usize| {
        let pairs = (0..paths).map(|n| (format!("a{n:02}"), json!(from + n)));
        Json::Object(pairs.collect())
    };
    Drift {
        address: ADDRESS.parse().expect("an address"),
        before: attributes(&side(0)),
        after: Some(attributes(&side(100))),
        paths: (0..paths).map(|n| vec![format!("a{n:02}")]).collect(),
    }
}

#[test]
fn drift_does_not_drown_the_plan() {
    let mut plan = plan(Vec::new());
    plan.drift = vec![drift(10); 12];
    let said = text::plan(&plan, Paint::Plain, 100);
    assert_eq!(said.matches(" has changed\n").count(), 10, "{said}");
    assert!(said.contains("# (2 more changed attributes hidden)"), "{said}");
    assert!(said.contains("# (2 more; \"fleetform drift\" shows all of them)"), "{said}");
    insta::assert_snapshot!(text::drifted(&drift(2), Paint::Plain, usize::MAX), @r###"
# aws_eks_node_group.main["us-east-1/g5.xlarge"] has changed
~ resource "aws_eks_node_group" "main" {
    ~ a00 = 0 -> 100
    ~ a01 = 1 -> 101
  }
"###);
    let gone = Drift { after: None, ..drift(1) };
    insta::assert_snapshot!(text::drifted(&gone, Paint::Plain, usize::MAX), @r###"
# aws_eks_node_group.main["us-east-1/g5.xlarge"] has been deleted
- resource "aws_eks_node_group" "main" { … }
"###);
}

#[test]
fn paths_are_written_as_in_hcl() {
    for (path, expected) in [
        (vec!["size"], "size"),
        (vec!["taint", "0", "key"], "taint[0].key"),
        (vec!["labels", "fleetform.dev/pool"], "labels[\"fleetform.dev/pool\"]"),
    ] {
        let path: Vec<String> = path.into_iter().map(str::to_owned).collect();
        assert_eq!(change::path(&path), expected);
    }
}

#[test]
fn each_action_has_terraforms_json() {
    let of = |action, before, after| {
        let json = layout::plan(&plan(vec![changed(action, before, after)]));
        json["resource_changes"][0]["change"].clone()
    };
    let (old, new) =
        (json!({ "a": 1, "t": "***1" }), json!({ "a": "?", "l": ["?", 2], "t": "***2" }));
    let shown_old = json!({ "a": 1, "t": null });
    // What is unknown is absent from a map and null in a list, and marked in `after_unknown`.
    let shown_new = json!({ "l": [null, 2], "t": null });
    for (action, actions) in [
        (Action::NoOp, json!(["no-op"])),
        (Action::Update, json!(["update"])),
        (Action::Replace, json!(["delete", "create"])),
    ] {
        let change = of(action, old.clone(), new.clone());
        assert_eq!(change["actions"], actions);
        assert_eq!(change["before"], shown_old);
        assert_eq!(change["after"], shown_new);
        assert_eq!(change["after_unknown"], json!({ "a": true, "l": [true, false] }));
        assert_eq!(change["before_sensitive"], json!({ "t": true }));
        assert_eq!(change["after_sensitive"], json!({ "l": [false, false], "t": true }));
    }
    let change = of(Action::Create, Json::Null, new);
    assert_eq!(change["actions"], json!(["create"]));
    assert_eq!((&change["before"], &change["before_sensitive"]), (&Json::Null, &json!(false)));
    let change = of(Action::Delete, old, Json::Null);
    assert_eq!(change["actions"], json!(["delete"]));
    assert_eq!((&change["after"], &change["after_sensitive"]), (&Json::Null, &json!(false)));
    assert_eq!(change["after_unknown"], json!({}));
}

#[test]
fn a_replacements_json_names_paths_and_reason() {
    let mut replaced =
        changed(Action::Replace, json!({ "t": [{ "k": 1 }] }), json!({ "t": [{ "k": 2 }] }));
    replaced.reason = Some(Reason::ReplaceBecauseCannotUpdate);
    replaced.replace_paths = vec![vec!["t".into(), "0".into(), "k".into()]];
    let json = layout::plan(&plan(vec![replaced]));
    let one = &json["resource_changes"][0];
    assert_eq!(one["change"]["replace_paths"], json!([["t", 0, "k"]]));
    assert_eq!(one["action_reason"], "replace_because_cannot_update");
    assert_eq!(one["address"], ADDRESS);
    assert_eq!(one["index"], "us-east-1/g5.xlarge");
    assert_eq!(one["provider_name"], "registry.terraform.io/hashicorp/aws");
}

#[test]
fn outputs_have_actions_and_types() {
    let mut plan = plan(Vec::new());
    plan.outputs = BTreeMap::from([
        ("a".to_owned(), output(None, Some(json!("x")))),
        ("b".to_owned(), output(Some(json!(1)), Some(json!([1, "x"])))),
        ("c".to_owned(), output(Some(json!(1)), None)),
        ("d".to_owned(), output(Some(json!(true)), Some(json!(true)))),
        ("e".to_owned(), OutputChange { sensitive: true, ..output(None, Some(json!("s"))) }),
        ("f".to_owned(), output(None, Some(json!("?")))),
    ]);
    let json = layout::plan(&plan);
    for (name, action) in [("a", "create"), ("b", "update"), ("c", "delete"), ("d", "no-op")] {
        assert_eq!(json["output_changes"][name]["actions"], json!([action]), "{name}");
    }
    assert_eq!(
        json["planned_values"]["outputs"],
        json!({
            "a": { "sensitive": false, "type": "string", "value": "x" },
            "b": { "sensitive": false, "type": ["tuple", ["number", "string"]], "value": [1, "x"] },
            "d": { "sensitive": false, "type": "bool", "value": true },
            "e": { "sensitive": true, "type": "string", "value": null },
            "f": { "sensitive": false },
        })
    );
    assert_eq!(json["output_changes"]["f"]["after_unknown"], true);
    assert_eq!(json["output_changes"]["e"]["after"], Json::Null);
    assert_eq!(
        events::planned_outputs(&plan)["outputs"]["d"],
        json!({ "sensitive": false, "action": "noop" })
    );
}

#[test]
fn drift_json_names_the_attributes() {
    let mut plan = plan(Vec::new());
    plan.drift = vec![drift(1), Drift { after: None, ..drift(1) }];
    let json = layout::plan(&plan);
    assert_eq!(json["resource_drift"][0]["change"]["actions"], json!(["update"]));
    assert_eq!(json["resource_drift"][0]["fleetform_paths"], json!(["a00"]));
    assert_eq!(json["resource_drift"][1]["change"]["actions"], json!(["delete"]));
    assert_eq!(json["resource_drift"][1]["change"]["after"], Json::Null);
}

#[test]
fn events_have_terraforms_shapes() {
    let resource = json!({
        "addr": ADDRESS, "module": "", "resource": ADDRESS, "implied_provider": "aws",
        "resource_type": "aws_eks_node_group", "resource_name": "main",
        "resource_key": "us-east-1/g5.xlarge",
    });
    let mut one = changed(Action::Replace, json!({}), json!({}));
    one.reason = Some(Reason::ReplaceByRequest);
    let (message, fields) = events::planned_change(&one);
    assert_eq!(message, format!("{ADDRESS}: Plan to replace"));
    assert_eq!(
        fields,
        json!({ "change": { "resource": resource, "action": "replace", "reason": "requested" } })
    );
    let elapsed = std::time::Duration::from_millis(2_700);
    assert_eq!(
        events::hook(&one, Phase::Make, one.before.as_ref(), Some(elapsed)),
        json!({ "hook": {
            "resource": resource, "action": "create", "id_key": "id", "id_value": "pool-1",
            "elapsed_seconds": 2,
        } })
    );
    assert_eq!(events::hook(&one, Phase::Remove, None, None)["hook"]["action"], "delete");
    assert_eq!(
        events::event(
            "info",
            "version",
            "Fleetform 1",
            "2026-01-01T00:00:00Z",
            json!({ "ui": "1.2" })
        ),
        json!({
            "@level": "info", "@message": "Fleetform 1", "@module": "fleetform.ui",
            "@timestamp": "2026-01-01T00:00:00Z", "type": "version", "ui": "1.2",
        })
    );
    let values = BTreeMap::from([
        ("a".to_owned(), (value(&json!({ "x": 1 })), false)),
        ("b".to_owned(), (value(&json!("s")), true)),
    ]);
    assert_eq!(
        events::outputs(&values)["outputs"],
        json!({
            "a": { "sensitive": false, "type": ["object", { "x": "number" }], "value": { "x": 1 } },
            "b": { "sensitive": true, "type": "string" },
        })
    );
}

#[test]
fn graphs_leave_out_what_follows() {
    let resource = |address: &str, depends_on: &[&str]| Resource {
        address: address.parse().expect("an address"),
        cloud: "c".into(),
        site: None,
        attributes: Attributes::new(),
        depends_on: depends_on.iter().map(|text| text.parse().expect("an address")).collect(),
    };
    let resources: BTreeMap<_, _> = [
        resource("a.cluster[\"x\"]", &[]),
        resource("b.pool", &["a.cluster[\"x\"]"]),
        resource("c.app", &["a.cluster[\"x\"]", "b.pool"]),
    ]
    .into_iter()
    .map(|resource| (resource.address.clone(), resource))
    .collect();
    insta::assert_snapshot!(graph::dot(&resources), @r###"
digraph G {
  rankdir = "RL";
  node [shape = rect, fontname = "sans-serif"];
  "a.cluster[\"x\"]";
  "b.pool";
  "c.app";
  "b.pool" -> "a.cluster[\"x\"]";
  "c.app" -> "b.pool";
}
"###);
    insta::assert_snapshot!(graph::mermaid(&resources), @r###"
flowchart RL
  n0["a.cluster[#quot;x#quot;]"]
  n1["b.pool"]
  n2["c.app"]
  n1 --> n0
  n2 --> n1
"###);
}

#[test]
fn tables_align_by_characters() {
    let columns = [("name", table::Align::Left), ("n ×", table::Align::Right)];
    let rows = [vec!["é".to_owned(), "10".to_owned()], vec!["longer".to_owned(), "7".to_owned()]];
    let drawn = table::table("  ", &columns, &rows);
    assert_eq!(drawn, "  name    n ×\n  é        10\n  longer    7\n");
}
