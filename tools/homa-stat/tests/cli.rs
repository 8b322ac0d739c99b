// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The program itself, with a /proc of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder that looks like /proc, removed when dropped.
struct Proc(PathBuf);

impl Proc {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("proc-{name}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("thread-self/net")).unwrap();
        fs::create_dir_all(path.join("12/fd")).unwrap();
        fs::write(path.join("12/comm"), "echo server\n").unwrap();
        symlink("socket:[77]", path.join("12/fd/3")).unwrap();
        symlink("socket:[77]", path.join("12/fd/4")).unwrap();
        Self(path)
    }

    fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.0.join("thread-self/net").join(name), text).unwrap();
        self
    }

    /// Exit status, output, errors.
    fn run(&self, args: &[&str]) -> (bool, String, String) {
        let done = Command::new(env!("CARGO_BIN_EXE_homa-stat"))
            .args(args)
            .arg("--proc")
            .arg(&self.0)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (done.status.success(), text(done.stdout), text(done.stderr))
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const SOCKETS: &str =
    "local remote rpcs inode\n0.0.0.0:4000 * 12 77\n[::]:39711 [fd00::2]:99 3 8\n";

#[test]
fn sockets_with_their_processes() {
    let proc = Proc::new("sockets").file("homa_sockets", SOCKETS);
    let (good, out, err) = proc.run(&["-p"]);
    assert!(good, "{err}");
    assert_eq!(
        out,
        "local         remote        rpcs  process\n\
         0.0.0.0:4000  *               12  echo_server(12)\n\
         [::]:39711    [fd00::2]:99     3  -\n"
    );
    let (_, out, _) = proc.run(&["--port", "39711"]);
    assert_eq!(out.lines().count(), 2);
    assert!(out.contains("fd00::2") && !out.contains("4000"));
}

#[test]
fn rpcs() {
    let proc =
        Proc::new("rpcs").file("homa_rpcs", "port peer id\n4000 10.0.0.1:7 2\n99 10.0.0.1:7 3\n");
    let (good, out, _) = proc.run(&["-r", "--port", "99"]);
    assert!(good);
    assert_eq!(out, "port  peer        id\n  99  10.0.0.1:7   3\n");
}

#[test]
fn counters() {
    let proc = Proc::new("counters")
        .file("homa", "acks_sent 5\ndata_sent 0\n")
        .file("homa_tls_stat", "TlsReplay 1\n");
    let words = |args| {
        let (good, out, _) = proc.run(args);
        assert!(good);
        out.split_whitespace().map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(words(&["-c"]), ["acks_sent", "5", "TlsReplay", "1"]);
    assert_eq!(words(&["-c", "-a"]), ["acks_sent", "5", "data_sent", "0", "TlsReplay", "1"]);
}

#[test]
fn without_the_module() {
    let (good, _, err) = Proc::new("none").run(&[]);
    assert!(!good && err.contains("homa_sockets") && err.contains("loaded"), "{err}");
}
