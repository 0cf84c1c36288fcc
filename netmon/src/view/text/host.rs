//! The address of one end of a socket, before `:PORT`.

use std::{io::Write, net::IpAddr};

use super::output::put_address;
use crate::core::{
    escape::Escaped,
    id::{Binding, Tuple},
};

/// An address, in a form as of `ss` that differs from those of other sockets with that address.
#[derive(Clone, Copy)]
pub(in crate::view) struct Host<'a> {
    pub(in crate::view) address: IpAddr,
    /// The number of the device that the socket is bound to; 0 for none.
    interface: u32,
    binding: Option<&'a Binding>,
}

impl<'a> Host<'a> {
    /// Returns the address of this host's end.
    pub(in crate::view) const fn local(tuple: &Tuple, binding: &'a Binding) -> Self {
        Self { address: tuple.local.ip(), interface: tuple.interface, binding: Some(binding) }
    }

    /// Returns the address of the other end.
    pub(in crate::view) const fn remote(tuple: &Tuple) -> Self {
        Self { address: tuple.remote.ip(), interface: 0, binding: None }
    }

    /// Writes the address: `*` for each address of IPv4 and IPv6, `[::]` for each address of IPv6.
    #[inline]
    pub(in crate::view) fn put(self, out: &mut Vec<u8>) {
        match self.address {
            address @ IpAddr::V4(_) => put_address(out, address),
            address if address.is_unspecified() && self.takes_ipv4() => out.push(b'*'),
            address => {
                out.push(b'[');
                put_address(out, address);
                out.push(b']');
            }
        }
        self.put_device(out);
    }

    /// Writes `%` and the device that the socket is bound to: its name, or its number if the name
    /// is not known.
    #[inline]
    pub(in crate::view) fn put_device(self, out: &mut Vec<u8>) {
        if self.interface == 0 {
            return;
        }
        // Writing to a vector does not fail.
        let _ = match self.binding.and_then(|binding| binding.device.as_deref()) {
            Some(name) => write!(out, "%{}", Escaped(name.as_bytes())),
            None => write!(out, "%{}", self.interface),
        };
    }

    fn takes_ipv4(self) -> bool {
        self.binding.is_some_and(|binding| binding.v6only == Some(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(address: &str, interface: u32, binding: &Binding) -> String {
        let local = format!("{address}:80").parse().expect("an address");
        let remote = ([0, 0, 0, 0], 0).into();
        let tuple = Tuple { netns: 1, interface, local, remote };
        let mut text = Vec::new();
        Host::local(&tuple, binding).put(&mut text);
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn equal_addresses_of_two_sockets_differ() {
        let unknown = Binding::default();
        let named = Binding { device: Some("eth0".into()), v6only: None };
        let [dual_stack, v6only] =
            [false, true].map(|v6only| Binding { device: None, v6only: Some(v6only) });
        for (text, expected) in [
            (local("127.0.0.1", 0, &unknown), "127.0.0.1"),
            (local("127.0.0.1", 3, &named), "127.0.0.1%eth0"),
            (local("127.0.0.1", 3, &unknown), "127.0.0.1%3"),
            (local("[fe80::1]", 3, &named), "[fe80::1]%eth0"),
            (local("[::]", 0, &unknown), "[::]"),
            (local("[::]", 0, &v6only), "[::]"),
            (local("[::]", 0, &dual_stack), "*"),
            (local("[::]", 3, &dual_stack), "*%3"),
            (local("[::1]", 0, &dual_stack), "[::1]"),
            (local("0.0.0.0", 0, &dual_stack), "0.0.0.0"),
        ] {
            assert_eq!(text, expected);
        }
    }
}
