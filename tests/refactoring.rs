//! Plans of a part of a stack, through the program, on the sandbox.

mod common;

use common::Place;

const TWO: &str = r#"
cloud "aws" { regions = ["us-east-1"] }
variable "replicas" {
  type    = number
  default = 2
}
image "x" { source = "ghcr.io/acme/x:1" }
service "chat" {
  image    = image.x
  replicas = var.replicas
  resources { cpus = 1 }
}
service "rank" {
  image    = image.x
  replicas = var.replicas
  resources { cpus = 1 }
}
output "replicas" { value = var.replicas }
"#;

#[test]
fn a_target_takes_along_what_it_needs_and_nothing_else() {
    let place = Place::with(TWO);
    place
        .run("apply -sandbox -auto-approve -target=service.chat stack")
        .ends(0)
        .says("Warning: Resource targeting is in effect")
        .says("Warning: Applied changes may be incomplete");
    let list = place.run("state list -sandbox -stack-dir stack").ends(0).out;
    assert!(list.contains("kubernetes_deployment.chat"), "{list}");
    assert!(list.contains("aws_eks_cluster.main"), "{list}");
    assert!(!list.contains(".rank"), "{list}");
    let rest = place.run("plan -sandbox -detailed-exitcode stack").ends(2).out;
    assert!(
        rest.contains("kubernetes_deployment.rank[\"aws/us-east-1\"] will be created"),
        "{rest}"
    );
    place.run("apply -sandbox -auto-approve stack").ends(0);

    place.run("plan -sandbox -out=part.plan -var replicas=3 -exclude service.rank stack").ends(0);
    place.run("apply part.plan").ends(0).says("Applied changes may be incomplete");
    let rest = place.run("plan -sandbox -detailed-exitcode -var replicas=3 stack").ends(2).out;
    assert!(!rest.contains("kubernetes_deployment.chat"), "{rest}");
    assert!(rest.contains("kubernetes_deployment.rank"), "{rest}");

    place.run("destroy -sandbox -auto-approve -target=service.rank stack").ends(0);
    let list = place.run("state list -sandbox -stack-dir stack").ends(0).out;
    assert!(list.contains(".chat") && !list.contains(".rank"), "{list}");
    place.run("destroy -sandbox -auto-approve stack").ends(0);
    place.run("sandbox census stack").ends(0).says("The sandbox is empty.");
}

#[test]
fn a_target_that_names_nothing_is_refused() {
    let place = Place::with(TWO);
    place
        .run("plan -sandbox -target=service.caht stack")
        .ends(1)
        .says("Error: No such address")
        .says("The plan has nothing that service.caht names.")
        .says("hint: did you mean service.chat?");
    place.run("plan -sandbox -exclude=nonsense stack").ends(1).says("Error: Not an address");
}
