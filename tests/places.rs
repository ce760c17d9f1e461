//! Where a workload may be: countries and distances, by the clouds' own regions.

mod common;

use common::Place;

const STACK: &str = r#"
cloud "aws" {}
cloud "gcp" { project = "acme" }
cloud "azure" { resource_group = "acme" }
image "chat" { source = "ghcr.io/acme/chat:1.4.2" }
service "chat" {
  image    = image.chat
  replicas = 3
  resources {
    gpus      = 1
    gpu_types = ["L4", "T4", "A10G"]
  }
  placement {
    residency = ["EU"]
    spread {
      over = "region"
      min  = 2
    }
    latency {
      from = { latitude = 50.11, longitude = 8.68 }
      max  = "15ms"
    }
  }
}
"#;

#[test]
fn replicas_stay_in_their_countries_and_near() {
    let place = Place::with(STACK);
    let placed = place.run("placement -sandbox -json stack").ends(0);
    let json: serde_json::Value = serde_json::from_str(&placed.out).expect("JSON");
    let rentals = json["placement"]["rentals"].as_object().expect("rentals");
    assert!(rentals.len() >= 2, "{rentals:?}");
    for (id, rental) in rentals {
        let country = rental["offering"]["location"]["country"].as_str().expect("a country");
        // Within 667 km of Frankfurt, inside the Union: not Zurich, not London.
        assert!(["DE", "NL", "BE", "FR", "IT", "AT"].contains(&country), "{id} is in {country}");
    }
    place.edit("residency = [\"EU\"]", "residency = [\"CH\", \"GB\"]");
    let placed = place.run("placement -sandbox -json stack").ends(0);
    assert!(placed.out.contains("\"country\": \"CH\""), "{}", placed.out);
    assert!(!placed.out.contains("\"country\": \"DE\""), "{}", placed.out);
    place.edit("max  = \"15ms\"", "max  = \"6ms\"");
    place
        .run("placement -sandbox stack")
        .ends(1)
        .says("No offering fits")
        .says("must be within 6 ms, and the nearest region that it may use")
        .says("max  = \"6ms\"");
}
