//! `explain` and `placement`: why, and what if.

mod common;

use common::Place;

#[test]
fn a_workload_is_explained_with_true_costs() {
    let place = Place::of("lepton");
    let told = place.run("explain -sandbox service.search lepton").ends(0);
    // A replica costs 1,970 on Google Cloud, 1,600 on AWS and 1,230 on Azure: what moves to Azure saves
    // the difference.
    for text in [
        "4  azure/eastus",
        "everything together costs\n$40,120.00 a month, and no other placement",
        "(lepton/main.hcl:52): 1 more GPU saves $740.00 a month",
        "(lepton/main.hcl:38): 1 more GPU saves $370.00 a month",
    ] {
        assert!(told.out.contains(text), "{text:?} is not in\n{}", told.out);
    }
    // The same in JSON, and once more the same.
    let json = place.run("explain -sandbox -json search lepton").ends(0);
    let parsed: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(parsed["limits"][0]["saving_month"], 740.0);
    assert_eq!(place.run("explain -sandbox -json search lepton").out, json.out);

    place
        .run("explain -sandbox service.serach lepton")
        .ends(1)
        .says("Nothing of that name to explain")
        .says("did you mean `service.search`?");
}

#[test]
fn a_change_is_traced_to_the_line_that_asks_for_it() {
    let place = Place::of("quickstart");
    place.run("apply -sandbox -auto-approve quickstart").ends(0);
    let listed =
        place.run("state list -sandbox -stack-dir quickstart kubernetes_deployment").ends(0);
    let address = listed.out.lines().next().expect("a deployment").to_owned();
    place
        .run(&format!("explain -sandbox {address} quickstart"))
        .ends(0)
        .says("as before")
        .says("So nothing changes:");
    let text = std::fs::read_to_string(place.path().join("main.hcl")).expect("the stack");
    let replicas = text.lines().find(|line| line.contains("replicas =")).expect("replicas");
    place.edit(replicas, "  replicas = 3");
    place
        .run(&format!("explain -sandbox {address} quickstart"))
        .ends(0)
        .says("main.hcl:")
        .says("asks for 3 replicas, ")
        .says("So this changes:")
        .says("replicas");
}

#[test]
fn other_conditions_are_solved_and_compared() {
    let place = Place::of("lepton");
    place
        .run("placement -sandbox -with capacity:azure/gpus=11 lepton")
        .ends(0)
        .says("$40,120.00 → $39,380.00 a month (-$740.00)");
    place.run("placement -sandbox lepton").ends(0).says("Objective $40,120.00 a month");
    place
        .run("placement -sandbox -without azure/eastus lepton")
        .ends(1)
        .says("No placement satisfies every limit");
    place
        .run("placement -sandbox -without azure/eatsus lepton")
        .ends(1)
        .says("Nothing to go without")
        .says("did you mean `azure/eastus`?");
    place
        .run("placement -sandbox -without * lepton")
        .ends(1)
        .says("No offering is left")
        .says("no offering fits `service.chat`");
    place
        .run("placement -sandbox -budget 40000 lepton")
        .ends(1)
        .says("The budget is $40,000; the cheapest possible placement costs $40,120");
    place
        .run("placement -sandbox -without aws,azure lepton")
        .ends(1)
        .says("`cloud.gcp` has capacity for 10 GPUs; 26 are needed (lepton/main.hcl:");
    place
        .run("placement -sandbox -with quota:asure/*/*=1 lepton")
        .ends(1)
        .says("Not a condition")
        .says("the stack has no cloud `asure`");
}

#[test]
fn a_reservation_counts_on_its_days_and_the_plan_keeps_the_day() {
    let place = Place::of("risk-scoring");
    let day = |place: &Place| -> serde_json::Value {
        place.run("plan -sandbox -out=saved risk-scoring").ends(0);
        let shown = place.run("show -json saved").ends(0);
        let plan: serde_json::Value = serde_json::from_str(&shown.out).expect("JSON");
        plan["fleetform"]["day"].clone()
    };
    assert!(day(&place).is_null(), "no reservation is limited to days");
    place.edit("    nodes         = 2", "    nodes         = 2\n    until = \"9999-12-31\"");
    place.run("placement -sandbox risk-scoring").ends(0).says("g5.12xlarge    reserved");
    let today = day(&place);
    assert_eq!(today.as_str().map(str::len), Some("2026-01-31".len()), "{today}");
    place.edit("9999-12-31", "2000-01-31");
    let ended = place.run("placement -sandbox risk-scoring").ends(0);
    assert!(!ended.out.contains("reserved"), "{}", ended.out);
}

#[test]
fn the_model_is_written_for_other_solvers() {
    let place = Place::of("lepton");
    let model = place.run("placement export -sandbox -format mps lepton").ends(0).out;
    assert!(model.contains("\nROWS\n") && model.ends_with("ENDATA\n"), "{model}");
    assert!(model.contains(" n:azure/eastus/Standard_NC4as_T4_v3/on_demand cost 0\n"), "{model}");
    place.run("placement export -sandbox -out model.mps lepton").ends(0);
    let written = std::fs::read_to_string(place.path().join("../model.mps")).expect("written");
    assert_eq!(written, model);
}

/// A server that answers every query with this number until it is dropped.
struct Measures {
    port: u16,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Measures {
    fn answer(number: &'static str) -> Measures {
        use std::io::{Read, Write};
        use std::sync::atomic::Ordering;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = stream.expect("a connection");
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).expect("a request");
                let body = format!(
                    r#"{{"status":"success","data":{{"resultType":"scalar","result":[1.0,"{number}"]}}}}"#
                );
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).expect("answered");
            }
        });
        Measures { port, stop, thread: Some(thread) }
    }
}

impl Drop for Measures {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::SeqCst);
        // Wakes it up.
        let _ = std::net::TcpStream::connect(("127.0.0.1", self.port));
        self.thread.take().expect("it runs until now").join().expect("it ended");
    }
}

#[test]
fn a_measured_load_is_kept_in_the_plan() {
    let server = Measures::answer("7");
    let port = server.port;
    let place = Place::with(&format!(
        r#"
cloud "aws" {{ regions = ["us-east-1"] }}
image "chat" {{ source = "ghcr.io/acme/chat:1" }}
model "llama" {{
  throughput "L4" {{ requests_per_second = 4 }}
  throughput "A100" {{ requests_per_second = 18 }}
}}
service "chat" {{
  image = image.chat
  model = model.llama
  load {{ from_prometheus = "sum(chat)" }}
  resources {{ gpus = 1 }}
}}
monitoring {{
  prometheus {{ url = "http://127.0.0.1:{port}" }}
}}
"#
    ));
    place
        .run("plan -sandbox -out=p.plan stack")
        .ends(0)
        .says("chat is sized for 7 requests per second; its replicas can serve 8.0.");
    drop(server);
    let json = place.run("show -json p.plan").ends(0).out;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["fleetform"]["loads"]["chat"], 7.0);
    // Nobody is asked any more: the plan knows, and so does the last placement.
    place.run("apply p.plan").ends(0);
    place.run("plan -sandbox stack").ends(1).says("Load could not be measured");
    place.run("plan -sandbox -refresh=false stack").ends(0).says("No changes.");
    // What runs stays where it is while the load is about the same.
    let server = Measures::answer("7.5");
    place.edit(&port.to_string(), &server.port.to_string());
    place.run("plan -sandbox stack").ends(0).says("is sized for 7.5").says("No changes.");
}
