//! Real servers, started for one test in a directory of its own and stopped with it.

use std::fs::File;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

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
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut found = above.map(|above| above.join(".ci/tools").join(path));
    found.find(|found| found.exists()).unwrap_or_else(|| {
        panic!("{path} is not there: run .ci/setup, which installs the servers that the stores are tested with")
    })
}

/// S3, as moto answers for it.
pub fn moto() -> Server {
    let program = tool("python/bin/moto_server");
    start(tempfile::tempdir().expect("a temporary directory"), move |port, _| {
        let mut command = Command::new(&program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        command
    })
}

/// A program of PostgreSQL, of Debian's package or on the path.
pub fn postgres_program(name: &str) -> PathBuf {
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
