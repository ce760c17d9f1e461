//! Real servers, started for one test in a directory of its own and stopped with it.

// Another test program uses its part of this; `expect` would fail in one of the two.
#![allow(dead_code, reason = "each test program uses its part")]

use std::fs::File;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::{TempDir, tempdir};

/// A running server. Stops when it is dropped.
pub struct Server {
    pub port: u16,
    pub directory: TempDir,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that `.ci/setup` installs.
pub fn tool(path: &str) -> PathBuf {
    // This crate's directory is the workspace's, or one below it.
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().take(2);
    let mut found = above.map(|directory| directory.join(".ci/tools").join(path));
    found.find(|found| found.exists()).unwrap_or_else(|| {
        panic!(
            ".ci/tools/{path} is not there: run .ci/setup, which installs the servers that the stores are tested with"
        )
    })
}

/// S3 as moto answers for it, one request at a time: by itself it looks in one thread whether a name is
/// free, while another one takes it, which S3 does not.
pub fn moto() -> Server {
    const ONE_AT_A_TIME: &str = "
import sys, threading, moto.server as moto
turn, dispatch = threading.Lock(), moto.DomainDispatcherApplication.__call__
def one_at_a_time(*arguments):
    with turn:
        return dispatch(*arguments)
moto.DomainDispatcherApplication.__call__ = one_at_a_time
moto.main(sys.argv[1:])
";
    let python = tool("python/bin/python");
    start(tempdir().expect("a temporary directory"), move |port, _| {
        let mut command = Command::new(&python);
        command.args(["-c", ONE_AT_A_TIME, "-H", "127.0.0.1", "-p", &port.to_string()]);
        command
    })
}

/// A PostgreSQL server with the user `deploy`, whose password is `secret`.
pub fn postgres() -> Server {
    let directory = tempdir().expect("a temporary directory");
    let is_root = Command::new("id").arg("-u").output().expect("id runs").stdout == b"0\n";
    // PostgreSQL refuses to run as root.
    let as_somebody = move |program: &str| {
        let program = postgres_program(program);
        if !is_root {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program);
        command
    };
    std::fs::write(directory.path().join("password"), "secret").expect("written");
    if is_root {
        let given =
            Command::new("chown").args(["-R", "nobody:nogroup"]).arg(directory.path()).status();
        assert!(given.expect("chown runs").success());
    }
    let made = as_somebody("initdb")
        .args(["--auth=scram-sha-256", "--username=deploy", "--no-sync", "--pgdata"])
        .arg(directory.path().join("data"))
        .arg("--pwfile")
        .arg(directory.path().join("password"))
        .current_dir(directory.path())
        .output()
        .expect("initdb runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    start(directory, move |port, directory| {
        let mut command = as_somebody("postgres");
        command.arg("-D").arg(directory.join("data")).current_dir(directory);
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        command.args(["-c", "max_connections=200", "-p", &port.to_string()]);
        command
    })
}

/// A program of PostgreSQL, of Debian's package or on the path.
fn postgres_program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions
        .map(|version| version.path().join("bin").join(name))
        .chain(
            std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
                .map(|directory| directory.join(name)),
        )
        .filter(|program| program.exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| {
        panic!("{name} of PostgreSQL is not there: run .ci/setup, which installs the servers that the stores are tested with")
    })
}

/// Starts a server that listens on a port, and waits until it does.
pub fn start(directory: TempDir, command: impl Fn(u16, &Path) -> Command) -> Server {
    let log = directory.path().join("server.log");
    for _ in 0..3 {
        let port = free_port();
        let output = File::create(&log).expect("a log file");
        let errors = output.try_clone().expect("a log file");
        let mut command = command(port, directory.path());
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        if listens(port, &mut child) {
            return Server { port, directory, child };
        }
        let _ = child.kill();
        let _ = child.wait();
    }
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    panic!("the server does not start:\n{said}");
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

/// Waits, for a minute at most. `false` where the server has ended.
fn listens(port: u16, child: &mut Child) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        if child.try_wait().expect("a child can be asked").is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}
