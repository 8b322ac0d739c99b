// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Which processes hold which sockets.

use super::Holders;
use std::fs;
use std::path::Path;

/// Looks through all processes for their sockets. Those that this user may not look into, and those that end
/// meanwhile, are left out.
pub fn holders(proc: &Path) -> Holders {
    let mut holders = Holders::new();
    for process in fs::read_dir(proc).into_iter().flatten().flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().filter(|name| name.parse::<u32>().is_ok()) else {
            continue;
        };
        let comm = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        // A blank would look like another column.
        let who = format!("{}({pid})", comm.trim_end().replace(char::is_whitespace, "_"));
        for fd in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            let Ok(link) = fs::read_link(fd.path()) else {
                continue;
            };
            if let Some(inode) = link.to_str().and_then(socket_inode) {
                let who_else = holders.entry(inode.to_string()).or_default();
                if !who_else.contains(&who) {
                    who_else.push(who.clone());
                }
            }
        }
    }
    holders
}

fn socket_inode(link: &str) -> Option<&str> {
    link.strip_prefix("socket:[")?.strip_suffix(']')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    #[test]
    fn this_process_holds_its_sockets() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
        let inode = socket_inode(link.to_str().unwrap()).unwrap();
        let holders = holders(Path::new("/proc"));
        assert!(holders[inode][0].ends_with(&format!("({})", std::process::id())));
    }

    #[test]
    fn links_of_other_kinds_are_not_sockets() {
        assert_eq!(socket_inode("pipe:[12]"), None);
        assert_eq!(socket_inode("socket:[12]"), Some("12"));
    }
}
