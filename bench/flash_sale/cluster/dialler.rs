//! Which of our nodes is at the other end of a connection on this machine: Linux tells by `/proc`.
//!
//! All nodes share one address, so a relay in front of node 2 cannot see from the address whether it is node 1 or node 3 that dials. The
//! kernel's table of sockets names the inode of the dialling end, and a node's own descriptors hold that inode.

use std::net::{IpAddr, SocketAddr};

/// Which of the processes has the socket whose local end is `from`; `None` when none has, or the system does not say.
pub(crate) fn of(from: SocketAddr, processes: &[u32]) -> Option<usize> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let inode = inode_of(&table, from)?;
    let wanted = format!("socket:[{inode}]");
    processes.iter().position(|pid| *pid != 0 && holds(*pid, &wanted))
}

fn holds(pid: u32, wanted: &str) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors
        .flatten()
        .any(|descriptor| std::fs::read_link(descriptor.path()).is_ok_and(|link| link.to_str() == Some(wanted)))
}

/// The inode of the connection whose local address is `from`, from the text of `/proc/net/tcp`.
fn inode_of(table: &str, from: SocketAddr) -> Option<u64> {
    let IpAddr::V4(ip) = from.ip() else { return None };
    // The kernel writes the four bytes as one number of the machine's own order.
    let wanted = format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), from.port());
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let is_it = fields.nth(1)? == wanted;
        // rem_address, st, queues, timer, retransmits, uid, timeout, inode
        let inode = fields.nth(7)?.parse().ok()?;
        is_it.then_some(inode).filter(|inode| *inode != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_the_inode_of_the_dialling_end() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000 100 0 0 10 0\n\
            \x20  1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 02:000A7214 00000000     0        0 8150 2 0000 20 4 30 10 -1\n";
        if cfg!(target_endian = "little") {
            assert_eq!(inode_of(table, "127.0.0.1:50000".parse().unwrap()), Some(8150));
            assert_eq!(inode_of(table, "127.0.0.1:8080".parse().unwrap()), Some(4711));
        }
        assert_eq!(inode_of(table, "127.0.0.1:1".parse().unwrap()), None);
    }

    #[test]
    fn our_own_connection_is_found_among_processes() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dialled = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_accepted, from) = listener.accept().unwrap();
        assert_eq!(from, dialled.local_addr().unwrap());
        if std::path::Path::new("/proc/net/tcp").exists() {
            assert_eq!(of(from, &[0, 1, std::process::id()]), Some(2));
            assert_eq!(of(from, &[0]), None);
        }
    }
}
