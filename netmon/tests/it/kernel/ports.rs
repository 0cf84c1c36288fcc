//! Local ports, of sockets whose port the kernel chooses.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use socket2::{Domain, SockRef, Socket, Type};

use crate::kernel::{
    harness::{Watch, cookie, slow},
    netns::Netns,
};

#[test]
fn a_connect_into_a_black_hole_shows_its_port_at_once() {
    Netns::new().run(|| {
        let mut watch = Watch::start(&[]);
        let _wire = crate::kernel::peer::Wire::new();
        let (mut sockets, mut waits) = (Vec::new(), Vec::new());
        for port in 1..=20_u16 {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            socket.set_nonblocking(true).expect("non-blocking");
            let address: SocketAddr = format!("10.9.0.2:{port}").parse().expect("an address");
            let called = Instant::now();
            assert!(socket.connect(&address.into()).is_err());
            let local = socket.local_addr().expect("bound").as_socket().expect("IP");
            let id = cookie(&socket);
            let events = watch.expect(id, "CLOSE>SYN_SENT");
            waits.push(called.elapsed());
            assert_eq!(events[0]["local_port"], local.port(), "{events:#?}");
            assert_eq!(events[0]["local_addr"], "10.9.0.1");
            sockets.push(socket);
        }
        // Only most waits are short: this machine may be busy with other tests.
        waits.sort();
        assert!(waits[waits.len() / 2] < slow(Duration::from_millis(100)), "{waits:?}");
        let id = cookie(&sockets[0]);
        drop(sockets);
        // A close before an answer is no error.
        let events = watch.expect(id, "CLOSE>SYN_SENT SYN_SENT>CLOSE");
        assert!(events[1].get("errno").is_none(), "{events:#?}");
    });
}

#[test]
fn a_reused_socket_never_shows_its_old_port() {
    Netns::new().run(|| {
        let mut watch = Watch::start(&[]);
        let _wire = crate::kernel::peer::Wire::new();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let id = cookie(&socket);
        let closed_port: SocketAddr = "127.0.0.1:9".parse().expect("an address");
        assert!(socket.connect(&closed_port.into()).is_err());
        let old = watch.expect(id, "CLOSE>SYN_SENT SYN_SENT>CLOSE")[0]["local_port"].clone();
        socket.set_nonblocking(true).expect("non-blocking");
        let silent: SocketAddr = "10.9.0.2:80".parse().expect("an address");
        assert!(socket.connect(&silent.into()).is_err());
        let new = socket.local_addr().expect("bound").as_socket().expect("IP").port();
        let events = watch.expect(id, "CLOSE>SYN_SENT SYN_SENT>CLOSE CLOSE>SYN_SENT");
        assert_eq!(events[2]["local_port"], new, "the old one was {old}");
        assert!(SockRef::from(&socket).cookie().is_ok());
    });
}

#[test]
fn a_listener_without_a_bind_shows_the_port_it_gets() {
    Netns::new().run(|| {
        let mut watch = Watch::start(&[]);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.listen(1).expect("listening");
        let port = socket.local_addr().expect("bound").as_socket().expect("IP").port();
        let events = watch.expect(cookie(&socket), "CLOSE>LISTEN");
        assert_eq!(events[0]["local_port"], port);
    });
}
