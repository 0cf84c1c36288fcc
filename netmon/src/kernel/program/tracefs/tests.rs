use super::*;

/// Returns a `format` file. The fields come in order, each at its natural alignment, as in the
/// kernel.
fn file(common: &[(&str, u32, u32)], own: &[(&str, u32, u32)]) -> Fields {
    let mut text = "name: inet_sock_set_state\nID: 1403\nformat:\n".to_owned();
    let mut at = 0;
    for (index, (declaration, size, align)) in common.iter().chain(own).enumerate() {
        if index == common.len() {
            text.push('\n');
        }
        at = u32::next_multiple_of(at, *align);
        text += &format!("\tfield:{declaration};\toffset:{at};\tsize:{size};\tsigned:0;\n");
        at += size;
    }
    text += "\nprint fmt: \"family=%s sport=%hu\", REC->family, REC->sport\n";
    Fields { tracepoint: "sock/inet_sock_set_state", text }
}

const COMMON: [(&str, u32, u32); 4] = [
    ("unsigned short common_type", 2, 2),
    ("unsigned char common_flags", 1, 1),
    ("unsigned char common_preempt_count", 1, 1),
    ("int common_pid", 4, 4),
];

fn own(protocol: (&'static str, u32, u32)) -> [(&'static str, u32, u32); 11] {
    [
        ("const void * skaddr", 8, 8),
        ("int oldstate", 4, 4),
        ("int newstate", 4, 4),
        ("__u16 sport", 2, 2),
        ("__u16 dport", 2, 2),
        ("__u16 family", 2, 2),
        protocol,
        ("__u8 saddr[4]", 4, 1),
        ("__u8 daddr[4]", 4, 1),
        ("__u8 saddr_v6[16]", 16, 1),
        ("__u8 daddr_v6[16]", 16, 1),
    ]
}

const WIDE: (&str, u32, u32) = ("__u16 protocol", 2, 2);

fn offsets(fields: &Fields) -> [u32; 12] {
    let f = fields.transition().expect("a format");
    [
        f.skaddr,
        f.oldstate,
        f.newstate,
        f.sport,
        f.dport,
        f.family,
        f.protocol,
        f.protocol_size,
        f.saddr,
        f.daddr,
        f.saddr_v6,
        f.daddr_v6,
    ]
}

#[test]
fn mainline() {
    assert_eq!(offsets(&file(&COMMON, &own(WIDE))), [8, 16, 20, 24, 26, 28, 30, 2, 32, 36, 40, 56]);
}

#[test]
fn before_5_6_a_protocol_was_one_byte() {
    assert_eq!(
        offsets(&file(&COMMON, &own(("__u8 protocol", 1, 1)))),
        [8, 16, 20, 24, 26, 28, 30, 1, 31, 35, 39, 55]
    );
}

#[test]
fn rhel_9_3_has_another_common_field() {
    // common_preempt_lazy_count, a byte after pid: every later field moves by a word.
    let mut common = COMMON.to_vec();
    common.push(("unsigned char common_preempt_lazy_count", 1, 1));
    assert_eq!(
        offsets(&file(&common, &own(WIDE))),
        [16, 24, 28, 32, 34, 36, 38, 2, 40, 44, 48, 64]
    );
}

#[test]
fn realtime_kernels_count_migrations() {
    // RT until 5.15: common_migrate_disable and common_preempt_lazy_count, two bytes after pid.
    let mut common = COMMON.to_vec();
    common.push(("unsigned char common_migrate_disable", 1, 1));
    common.push(("unsigned char common_preempt_lazy_count", 1, 1));
    assert_eq!(
        offsets(&file(&common, &own(WIDE))),
        [16, 24, 28, 32, 34, 36, 38, 2, 40, 44, 48, 64]
    );
}

#[test]
fn fields_are_found_by_name_not_by_place() {
    let mut fields = own(WIDE);
    fields.reverse();
    let [skaddr, .., daddr_v6] = offsets(&file(&COMMON, &fields));
    assert_eq!((skaddr, daddr_v6), (64, 8));
}

#[test]
fn what_cannot_be_read_is_named() {
    let mut fields = own(WIDE).to_vec();
    fields.remove(3);
    let error = file(&COMMON, &fields).transition().expect_err("no sport");
    assert_eq!(
        error.to_string(),
        "the tracepoint sock/inet_sock_set_state has no field sport that netmon could read"
    );
    let error = file(&COMMON, &own(("__u64 protocol", 8, 8))).transition();
    assert!(error.is_err_and(|error| error.to_string().contains("protocol")));
    for text in ["", "field:", "field:x;offset:;size:", "\tfield:__u16 sport;\toffset:-1;\tsize:2;"]
    {
        let fields = Fields { tracepoint: "sock/inet_sock_set_state", text: text.to_owned() };
        assert!(fields.transition().is_err(), "{text}");
    }
}
