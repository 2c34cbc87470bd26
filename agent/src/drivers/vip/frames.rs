//! The frames that find out who has an address and that announce it: ARP (RFC 5227) and neighbour discovery (RFC 4861).

use serde::{Deserialize, Serialize};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, Icmpv6Packet,
    Icmpv6Repr, IpProtocol, Ipv6Packet, Ipv6Repr, NdiscNeighborFlags, NdiscRepr,
};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Messages of neighbour discovery count only with this hop limit: they have passed no router.
const HOP_LIMIT: u8 = 255;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// "Who has `addr`?", asked by a host that has no claim to it yet.
pub fn probe(addr: IpAddr, own: Mac) -> Vec<u8> {
    match addr {
        IpAddr::V4(addr) => arp(ArpOperation::Request, own, Ipv4Addr::UNSPECIFIED, addr),
        IpAddr::V6(addr) => {
            let [.., x, y, z] = addr.octets();
            let to = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(x), u16::from_be_bytes([y, z]));
            // Without its own hardware address: the asker has no address to be answered at.
            ndisc(own, Ipv6Addr::UNSPECIFIED, to, NdiscRepr::NeighborSolicit { target_addr: addr, lladdr: None })
        }
    }
}

/// "`addr` is here": one of each kind that somebody listens to.
pub fn announcements(addr: IpAddr, own: Mac) -> Vec<Vec<u8>> {
    match addr {
        // Some listen to requests only, some to answers only.
        IpAddr::V4(addr) => {
            [ArpOperation::Request, ArpOperation::Reply].map(|kind| arp(kind, own, addr, addr)).to_vec()
        }
        IpAddr::V6(addr) => {
            let advert = NdiscRepr::NeighborAdvert {
                flags: NdiscNeighborFlags::OVERRIDE,
                target_addr: addr,
                lladdr: Some(EthernetAddress(own.0).into()),
            };
            vec![ndisc(own, addr, ALL_NODES, advert)]
        }
    }
}

/// Who claims to have `addr` in this frame, if somebody other than `own` does.
pub fn claimant(frame: &[u8], addr: IpAddr, own: Mac) -> Option<Mac> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    let claimant = match (addr, frame.ethertype()) {
        (IpAddr::V4(addr), EthernetProtocol::Arp) => arp_claimant(frame.payload(), addr)?,
        (IpAddr::V6(addr), EthernetProtocol::Ipv6) => ndisc_claimant(&frame, addr)?,
        _ => return None,
    };
    (claimant != own).then_some(claimant)
}

fn arp_claimant(payload: &[u8], addr: Ipv4Addr) -> Option<Mac> {
    let ArpRepr::EthernetIpv4 { operation, source_hardware_addr, source_protocol_addr, target_protocol_addr, .. } =
        ArpRepr::parse(&ArpPacket::new_checked(payload).ok()?).ok()?
    else {
        return None;
    };
    // Somebody else who probes for it is about to take it.
    let probes = operation == ArpOperation::Request
        && source_protocol_addr == Ipv4Addr::UNSPECIFIED
        && target_protocol_addr == addr;
    (source_protocol_addr == addr || probes).then_some(Mac(source_hardware_addr.0))
}

fn ndisc_claimant(frame: &EthernetFrame<&[u8]>, addr: Ipv6Addr) -> Option<Mac> {
    let packet = Ipv6Packet::new_checked(frame.payload()).ok()?;
    let header = Ipv6Repr::parse(&packet).ok()?;
    if header.next_header != IpProtocol::Icmpv6 || header.hop_limit != HOP_LIMIT {
        return None;
    }
    let message = Icmpv6Packet::new_checked(packet.payload()).ok()?;
    let checked = ChecksumCapabilities::default();
    match Icmpv6Repr::parse(&header.src_addr, &header.dst_addr, &message, &checked).ok()? {
        Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert { target_addr, .. }) if target_addr == addr => {}
        Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit { target_addr, .. })
            if target_addr == addr && header.src_addr.is_unspecified() => {}
        _ => return None,
    }
    Some(Mac(frame.src_addr().0))
}

fn ethernet(own: Mac, to: EthernetAddress, ethertype: EthernetProtocol, length: usize) -> Vec<u8> {
    let header = EthernetRepr { src_addr: EthernetAddress(own.0), dst_addr: to, ethertype };
    let mut bytes = vec![0; header.buffer_len() + length];
    header.emit(&mut EthernetFrame::new_unchecked(&mut bytes));
    bytes
}

fn arp(operation: ArpOperation, own: Mac, source: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let packet = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: EthernetAddress(own.0),
        source_protocol_addr: source,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: target,
    };
    let mut bytes = ethernet(own, EthernetAddress::BROADCAST, EthernetProtocol::Arp, packet.buffer_len());
    packet.emit(&mut ArpPacket::new_unchecked(EthernetFrame::new_unchecked(&mut bytes).payload_mut()));
    bytes
}

fn ndisc(own: Mac, source: Ipv6Addr, to: Ipv6Addr, message: NdiscRepr<'_>) -> Vec<u8> {
    let message = Icmpv6Repr::Ndisc(message);
    let header = Ipv6Repr {
        src_addr: source,
        dst_addr: to,
        next_header: IpProtocol::Icmpv6,
        payload_len: message.buffer_len(),
        hop_limit: HOP_LIMIT,
    };
    // A multicast group has the hardware address 33:33 and its last four bytes (RFC 2464).
    let [.., a, b, c, d] = to.octets();
    let group = EthernetAddress([0x33, 0x33, a, b, c, d]);
    let mut bytes = ethernet(own, group, EthernetProtocol::Ipv6, header.buffer_len() + message.buffer_len());
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    let mut packet = Ipv6Packet::new_unchecked(frame.payload_mut());
    header.emit(&mut packet);
    let mut content = Icmpv6Packet::new_unchecked(packet.payload_mut());
    message.emit(&source, &to, &mut content, &ChecksumCapabilities::default());
    bytes
}

#[cfg(test)]
mod tests {
    use super::{Mac, announcements, claimant, probe};
    use proptest::prelude::{any, proptest};
    use std::net::IpAddr;

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn addresses() -> [IpAddr; 2] {
        ["10.0.0.5", "fd00::5"].map(|text| text.parse().unwrap())
    }

    #[test]
    fn frames_are_those_of_the_standards() {
        let [v4, v6] = addresses();
        let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        expect_test::expect![[
            r#"ffffffffffff02000000000108060001080006040001020000000001000000000000000000000a000005"#
        ]]
        .assert_eq(&hex(probe(v4, OWN)));
        expect_test::expect!["3333ff00000502000000000186dd6000000000183aff00000000000000000000000000000000ff0200000000000000000001ff00000587007d9d00000000fd000000000000000000000000000005"].assert_eq(&hex(probe(v6, OWN)));
    }

    #[test]
    fn announcement_of_another_is_a_claim_and_ones_own_is_not() {
        for addr in addresses() {
            for frame in announcements(addr, OTHER) {
                assert_eq!(claimant(&frame, addr, OWN), Some(OTHER));
                assert_eq!(claimant(&frame, addr, OTHER), None);
            }
        }
        let [v4, v6] = addresses();
        assert_eq!(claimant(&announcements(v4, OTHER)[0], "10.0.0.6".parse().unwrap(), OWN), None);
        assert_eq!(claimant(&announcements(v4, OTHER)[0], v6, OWN), None);
    }

    #[test]
    fn another_who_probes_is_about_to_take_the_address() {
        for addr in addresses() {
            assert_eq!(claimant(&probe(addr, OTHER), addr, OWN), Some(OTHER));
            assert_eq!(claimant(&probe(addr, OWN), addr, OWN), None);
        }
    }

    #[test]
    fn damaged_neighbour_advertisement_claims_nothing() {
        let [_, v6] = addresses();
        let mut frame = announcements(v6, OTHER).remove(0);
        *frame.last_mut().unwrap() ^= 1;
        assert_eq!(claimant(&frame, v6, OWN), None, "its checksum is wrong");
    }

    proptest! {
        #[test]
        fn no_frame_is_too_strange(bytes: Vec<u8>, at in any::<usize>(), byte: u8, cut in any::<usize>()) {
            for addr in addresses() {
                let _ = claimant(&bytes, addr, OWN);
                for mut frame in announcements(addr, OTHER) {
                    let length = frame.len();
                    frame[at % length] = byte;
                    frame.truncate(cut % (length + 1));
                    let _ = claimant(&frame, addr, OWN);
                }
            }
        }
    }
}
